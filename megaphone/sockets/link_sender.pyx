"""The sender of a link: what its session has to say leaves straight from the session's ring, once per turn.

The mailbox stays empty: what the socket does not take waits in the ring, which keeps it anyway until the other side has
acknowledged it. With TLS at most one buffer of records waits in `sealed`.
"""

cimport cython
from libc.stdint cimport uint8_t, uint32_t
from libc.string cimport memset
from posix.uio cimport iovec

from megaphone.sockets.sender cimport MSG_NOSIGNAL, msghdr, send, sendmsg
from megaphone.sockets.tls cimport tls_output, tls_output_clear, tls_output_length
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
        cdef msghdr message
        cdef LinkSession session = self.session
        cdef int count = session.unsent(regions)
        cdef ssize_t sent
        if count == 0:
            return 0
        if count == 1:
            sent = send(self.fd, regions[0].iov_base, regions[0].iov_len, MSG_NOSIGNAL)
        else:
            memset(&message, 0, sizeof(message))
            message.msg_iov = regions
            message.msg_iovlen = count
            sent = sendmsg(self.fd, &message, MSG_NOSIGNAL)
        if sent < 0:
            return self.not_sent()
        session.wrote(sent)
        return sent

    cdef ssize_t encrypt_session(self):
        """Encrypts what there is up to a good buffer's worth, and sends that."""
        cdef iovec regions[REGIONS]
        cdef LinkSession session = self.session
        cdef int count = session.unsent(regions), i
        cdef size_t done, taken = 0, length
        cdef Py_ssize_t part = 1
        cdef ssize_t sent
        cdef uint8_t* data = tls_output()
        if count == 0:
            return 0
        for i in range(count):
            done = 0
            while done < regions[i].iov_len and part > 0 and tls_output_length() < SEALED_AT_ONCE_BYTES:
                part = self.tls.write(<const uint8_t*> regions[i].iov_base + done, regions[i].iov_len - done)
                if part > 0:
                    done += part
            taken += done
            if done < regions[i].iov_len:
                break
        length = tls_output_length()
        if length == 0:
            self.writable = False       # a TLS failure; the receiver sees it too
            return -1
        sent = send(self.fd, data, length, MSG_NOSIGNAL)
        if sent < 0:
            sent = self.not_sent()
        if sent >= 0 and <size_t> sent < length:
            self.poller.chunks.put(&self.sealed, data + sent, length - sent)
        tls_output_clear()
        if sent >= 0:
            session.wrote(taken)
        return sent
