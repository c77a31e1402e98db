"""Server sockets: choice, health, fail-over.

The edge and an uplink know each other by these calls alone:

    edge ─► uplink       open(connection, domain): an Owner, or the stream-error condition that the client is told
    edge ─► Owner        take_data, take_room, take_client_end, take_shutdown, take_tick, upstream_name
    Owner ─► dispatcher  get_data (credit), send_data, shutdown
    Owner ─► edge        proxy_header(connection), given to the uplink: what the server is told about the client
    worker ─► uplink     apply(limits) on a reload, sweep() 8 times a second, drain() and close() at the end

A connection may have two owners in turn: one for its stream in clear, where STARTTLS is optional, and one inside TLS.
After `take_shutdown` an owner says nothing more to the connection; it may be called from within the owner's own
`send_data` or `shutdown`.
"""
