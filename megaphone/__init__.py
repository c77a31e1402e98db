"""Megaphone: an XMPP edge.

The packages in the order a stanza meets them:

supervisor   starts the workers, keeps their listening sockets, restarts them, answers operators (trio)
worker       one process on uvloop: wires everything below together
edge         client sockets: accept, limits, STARTTLS, stream errors
sockets      non-blocking sockets: poller, receiver, sender, TLS (compiled)
wire         bytes: framer, header reader, writer, PROXY protocol (compiled where hot; no I/O)
stream       one XMPP stream as a state machine (no I/O)
dispatch     the centre: registry, mailbox, dispatcher, counters (no I/O)
rooms        chat rooms, XEP-0045 (no I/O)
uplink       server sockets: choice, health, fail-over
hub          the other end of links beside a server without a module; the uplink opens its sockets
metrics      every Prometheus metric on one screen
config       one TOML file into one frozen Config
errors       every exception on one screen
"""

__version__ = "0.1.0"
