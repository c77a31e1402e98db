"""Takes the frames of the mesh where they are about subjects only: in workers without the embedded service."""

from cpython.bytes cimport PyBytes_FromStringAndSize
from libc.stdint cimport uint8_t, uint64_t

from megaphone.bus.local cimport FrameTaker


cdef class SubjectFrames(FrameTaker):
    """What the other workers say goes to `subjects` (bus.subjects.Subjects), which is set before the mesh is opened."""

    cdef public object subjects

    cdef void take_frame(self, int peer, int kind, const uint8_t* data, size_t length):
        self.subjects.take_frame(peer, kind, PyBytes_FromStringAndSize(<const char*> data, length))

    cpdef void peer_lost(self, int peer):
        self.subjects.peer_lost(peer)
