"""The sender of a link: what its session has to say leaves straight from the session's ring, once per turn.

The mailbox stays empty: what the socket does not take waits in the ring, which keeps it anyway until the other side has
acknowledged it. With TLS at most one buffer of records waits in `sealed`.
"""

cimport cython
from libc.stdint cimport uint8_t, uint32_t
from posix.uio cimport iovec

from megaphone.sockets.tls_bio cimport tls_output
from megaphone.wire.link_session cimport REGIONS

cdef enum:
    SEALED_AT_ONCE_BYTES = 65536


@cython.no_gc
cdef class LinkSender(Sender):
    """The sending half of a link's socket."""

    cdef uint32_t pending_bytes(self) noexcept:
        cdef iovec regions[REGIONS]
        if self.sealed.size or self.session is None:
            return self.sealed.size
        return self.session.unsent(regions)

    cdef void close(self):
        Sender.close(self)
        self.session = None

    cdef void flush(self):
        cdef ssize_t sent = 1
        while sent > 0 and self.fd >= 0 and self.session is not None and self.writable and not self.connecting:
            if self.sealed.size:
                sent = self.send_chunks(&self.sealed)
            elif self.tls is None:
                sent = self.send_session()
            elif self.tls.established:
                sent = self.encrypt_session()
            else:
                return
        if self.session is None or self.sealed.size:
            Sender.flush(self)          # a parting socket's last bytes, close_notify and FIN

    cdef ssize_t send_session(self):
        """One system call: bytes sent, 0 when there is nothing to send or no room for it, -1 when the socket is broken."""
        cdef iovec regions[REGIONS]
        cdef LinkSession session = self.session
        cdef int count = session.unsent(regions)
        cdef ssize_t sent
        if count == 0:
            return 0
        sent = self.send_vectors(regions, count)
        if sent > 0:
            session.wrote(sent)
        return sent

    cdef ssize_t encrypt_session(self):
        """Encrypts what there is up to a good buffer's worth, and sends that."""
        cdef iovec regions[REGIONS]
        cdef LinkSession session = self.session
        cdef int count = session.unsent(regions), i = 0
        cdef size_t taken = 0
        cdef Py_ssize_t part
        cdef ssize_t sent
        if count == 0:
            return 0
        while i < count and tls_output().length < SEALED_AT_ONCE_BYTES:
            part = self.tls.write(regions + i, count - i)
            if part <= 0:
                break
            taken += part
            while i < count and part >= <Py_ssize_t> regions[i].iov_len:
                part -= regions[i].iov_len
                i += 1
            if part:
                regions[i].iov_base = <uint8_t*> regions[i].iov_base + part
                regions[i].iov_len -= part
        sent = self.send_output()
        if sent >= 0:
            session.wrote(taken)
        return sent
