"""Megaphone: an XMPP edge, and with no server behind it a small chat service.

The packages in the order a stanza meets them:

supervisor   starts the workers, keeps their listening sockets, restarts and upgrades them, answers operators (trio)
worker       one process on uvloop: wires everything below together
edge         client sockets: accept, limits, STARTTLS, stream errors
sockets      non-blocking sockets: poller, receiver, sender, TLS (compiled)
wire         bytes: framer, header reader, writer, PROXY protocol (compiled where hot; no I/O)
stream       one XMPP stream as a state machine (no I/O)
dispatch     the centre: registry, mailbox, dispatcher, counters (no I/O)

for browsers:
pages        ephemeral pages: who holds which, who is asked next, Phoenix channels (no I/O)
web          HTTP beyond the XMPP WebSocket: requests and their answers, WebSockets of other messages, files, host-meta

with servers behind it (edge):
uplink       server sockets: choice, health, fail-over
hub          the other end of links beside a server without a module; the uplink opens its sockets

without (chat service):
embedded     connections become sessions in the home of their user; what they say finds the home of whom it is for
bus          the way to another worker of the node: frames over Unix sockets, and which worker is whose home
service      the users at home here: login, sessions, roster, presence, messages (no I/O)
rooms        the rooms at home here, XEP-0045 (no I/O)
storage      what is kept: one SQLite database, read at once, written in batches by a thread

with no server at all (LAN):
peers        peers find each other by mDNS and replicate rooms over TLS
history      rooms as signed logs that every replica holds (no I/O)

beside all of it:
cli          the `megaphone` command, `megaphone chat` included
metrics      every Prometheus metric on one screen
config       one TOML file into one frozen Config
errors       every exception on one screen
"""

__version__ = "0.1.0"
