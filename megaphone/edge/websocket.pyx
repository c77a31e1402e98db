"""What a WebSocket connection has beside a TCP one: the state of its frames and messages, some 250 bytes."""

from megaphone.dispatch.counters cimport (
    CLIENT_CLOSED, CLIENT_RESET, IDLE_TIMEOUT, INTERNAL, PREAUTH_TIMEOUT, REMOTE_CONNECTION_FAILED, RESOURCE_CONSTRAINT, SERVER_CLOSED,
    SYSTEM_SHUTDOWN,
)
from megaphone.wire.websocket cimport reader_free, reader_start


cdef class WebSocket:
    """One of them, from the answer to its upgrade on."""

    def __cinit__(self):
        reader_start(&self.reader)
        self.to_messages = ToMessages.__new__(ToMessages)
        self.from_messages = FromMessages.__new__(FromMessages)

    def __dealloc__(self):
        reader_free(&self.reader)


cdef uint16_t code_of(int reason):
    """The status code for the end of a connection (RFC 6455 section 7.4.1 and IANA's registry)."""
    if reason == SYSTEM_SHUTDOWN:
        return 1001
    if reason in (CLIENT_CLOSED, SERVER_CLOSED, CLIENT_RESET, IDLE_TIMEOUT, PREAUTH_TIMEOUT):
        return 1000
    if reason == INTERNAL:
        return 1011
    if reason == RESOURCE_CONSTRAINT:
        return 1013     # try again later
    if reason == REMOTE_CONNECTION_FAILED:
        return 1014     # bad gateway
    return 1008


def websocket_bytes():
    """The bytes of the objects that an idle connection keeps more than one of TCP."""
    return WebSocket.__basicsize__ + ToMessages.__basicsize__ + FromMessages.__basicsize__
