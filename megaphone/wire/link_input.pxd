# Outline of the reading half of a session: the frames that may follow WELCOME.
from libc.stdint cimport uint8_t, uint64_t
from megaphone.wire.link cimport Frame
from megaphone.wire.link_exchange cimport LinkExchange
from megaphone.wire.link_streams cimport Stream

cdef class LinkInput(LinkExchange):
    # --- events: the owner overrides them ---
    cdef void on_opened(self, Stream* stream, object facts)     # server: facts is a link_open.Open
    cdef void on_data(self, Stream* stream, const uint8_t* data, size_t length)     # `data` is valid during the call
    cdef void on_drain(self)

    # --- for LinkSession ---
    cdef void take_frame(self, Frame* frame)
    cdef void take_stamp(self, uint64_t stamp)  # of a PONG
    cdef void settle(self)                      # after a read

    # --- its own ---
    cdef void fail_at(self, Frame* frame, str what)
    cdef void take_credit(self, Frame* frame)
    cdef void take_open(self, Frame* frame)
    cdef void take_shutdown(self, Frame* frame)
