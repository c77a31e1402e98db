# What all links and streams of a hub share, compiled interface.
from libc.stdint cimport uint32_t, uint64_t
from megaphone.dispatch.counters cimport Board
from megaphone.dispatch.dispatcher cimport Dispatcher
from megaphone.sockets.poller cimport Poller

cdef class Hub:
    cdef readonly Poller poller
    cdef readonly Dispatcher dispatcher
    cdef readonly Board board
    cdef readonly object settings           # settings.LinkSettings
    cdef readonly bytes instance            # 16 random bytes of this process
    cdef readonly dict links                # session id -> HubLink
    cdef readonly set sockets               # every LinkSocket that is open
    cdef readonly dict strangers            # of these the ones that carry no session, oldest first
    cdef public object certificates         # sockets.tls.CertificateChoice, or None without TLS
    cdef public object limits               # settings.SocketLimits
    cdef public object welcome              # (LinkSocket, LinkGreeting) -> None: HELLO is proven (link.welcome)
    cdef public object open_uplink          # (HubStream) -> Owner, or a stream-error condition
    cdef public object on_closed            # (HubStream, Reason) -> None, or None
    cdef public object on_link              # (event, **fields) -> None: what became of a link or its socket
    cdef public bint draining
    cdef uint32_t close_ticks
    cdef uint32_t slow_ticks
    cdef uint32_t sweeps
