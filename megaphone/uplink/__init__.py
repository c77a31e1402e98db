"""Server sockets: choice, health, fail-over.

An upstream is reached in one of two ways, each a Carrier (uplink.pyx): by a socket for each stream (direct.pyx), or by
a few links that carry the streams of many clients (link_carrier.pyx, link.pyx, link_stream.pyx, admission.pyx).

The edge and an uplink know each other by these calls alone:

    edge ─► uplink       open(connection, domain): an Owner, or the stream-error condition that the client is told
    edge ─► Owner        take_data, take_room, take_client_end, take_shutdown (with the closing reason), take_tick,
                         upstream_name
    Owner ─► dispatcher  get_data (credit), send_data, shutdown
    Carrier ─► edge      what the server is told about the client, as functions given to the carrier:
                         proxy_header(connection) for a socket, facts(connection) and is_returning(connection) for links
    worker ─► uplink     apply(limits) on a reload, sweep() 8 times a second, drain() and close() at the end

A connection may have several owners in turn: one for its stream in clear, where STARTTLS is optional, and one inside
TLS; and another one each time that an upstream cannot be reached and the next one is tried.
After `take_shutdown` an owner says nothing more to the connection; it may be called from within the owner's own
`send_data` or `shutdown`.
"""
