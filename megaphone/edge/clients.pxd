# What all client connections of a worker share, compiled interface.
from megaphone.dispatch.counters cimport Board
from megaphone.dispatch.dispatcher cimport Dispatcher
from megaphone.edge.limits cimport ClientLimits, WebSocketLimits
from megaphone.sockets.poller cimport Poller

cdef class Clients:
    cdef readonly Poller poller
    cdef readonly Dispatcher dispatcher
    cdef readonly Board board
    cdef public ClientLimits limits
    cdef public WebSocketLimits websocket
    cdef public object admission           # edge.admission.Admission
    cdef public object domains             # frozenset of domain names, normalised
    cdef public object open_uplink         # (ClientConnection, domain) -> Owner, or a stream-error condition
    cdef public bytes see_other_host       # the stream error that sends a client elsewhere; b"" = there is nowhere to go
    cdef public object listener_at         # (index in [[listen]]) -> ListenerFacts; MoveError where there is none
    cdef public object on_closed           # (ClientConnection, Reason) -> None, or None
    cdef public object on_fault            # (exception) -> None: a mistake of ours, to be logged
    cdef list throttled
