"""The sender: one socket's mailbox, emptied once per turn, through TLS if there is any.

Plaintext waits in the mailbox and is encrypted only when the socket takes it, so that small stanzas share a record.
A write never fails and never blocks; FULL asks the writer to wait for `take_drained`. A peer that does not take
bytes is stalled from then on: the worker's sweep ends it after the slow-consumer time.
"""

cimport cython
from libc.errno cimport EAGAIN, EINTR, errno
from libc.string cimport memset

from megaphone.dispatch.dispatcher cimport DELIVERED, FULL
from megaphone.dispatch.mailbox cimport Chunk
from megaphone.sockets.tls_bio cimport tls_output
from megaphone.wire.tls_records cimport Output

cdef extern from "sys/socket.h":
    cdef enum:
        SHUT_WR
    int shutdown(int, int)

cdef enum:
    VECTORS = 32                # chunks per system call: 128 KiB
    RECORD_VECTORS = 6          # chunks that fill a record of 16 KiB, wherever in the first one it begins
    SEALED_AT_ONCE_BYTES = 65536

cdef iovec vectors[VECTORS]


@cython.no_gc
cdef class Sender(Flushable):
    """The sending half of one socket."""

    cdef int write(self, const uint8_t* data, size_t length):
        """Queues a copy; FULL (once queued) when the mailbox is at its limit."""
        if self.fd < 0 or self.finishing or length == 0:
            return DELIVERED
        self.poller.chunks.put(&self.mailbox, data, length)
        self.poller.flush_later(self)
        if self.mailbox.size >= self.limit:
            if not self.full:
                self.full = True
                self.stalled_ticks = self.poller.now_ticks
            return FULL
        return DELIVERED

    cdef int write_through(self, const uint8_t* data, size_t length):
        """As `write`, but at once where nothing else waits: for who has collected a turn's bytes already.

        Of thousands of sockets that get the same, none then touches a chunk of its own.
        """
        cdef ssize_t sent
        if self.mailbox.size or self.sealed.size or self.tls is not None or not self.writable or self.connecting or self.finishing or self.fd < 0:
            return self.write(data, length)
        sent = send(self.fd, data, length, MSG_NOSIGNAL)
        if sent < 0:
            sent = self.not_sent()
            if sent < 0:
                return DELIVERED        # it is broken, which its receiver will notice and say
        if <size_t> sent == length:
            self.stalled_ticks = 0
            return DELIVERED
        return self.write(data + sent, length - sent)

    cdef uint32_t pending_bytes(self) noexcept:
        return self.mailbox.size + self.sealed.size

    cdef void seal_output(self):
        """Takes over what TLS has produced outside `flush` (handshake, alerts, tickets)."""
        cdef Output* output = tls_output()
        if output.length:
            self.poller.chunks.put(&self.sealed, output.data, output.length)
            output.length = 0
            self.poller.flush_later(self)

    cdef void seal_plain(self):
        """Before TLS begins: what has been written so far leaves as it is, ahead of anything that TLS says."""
        self.sealed = self.mailbox
        self.mailbox = Mailbox(NULL, NULL, 0)

    cdef void take_over(self, Mailbox* waiting):
        """Takes what has waited elsewhere, before anything was written here."""
        self.mailbox = waiting[0]
        waiting[0] = Mailbox(NULL, NULL, 0)
        self.full = self.mailbox.size >= self.limit

    cdef void finish(self):
        """After everything queued: close_notify, then FIN. Later writes are dropped."""
        if not self.finishing:
            self.finishing = True
            self.poller.flush_later(self)

    cdef void close(self):
        """Forgets everything; the receiver closes the descriptor."""
        self.fd = -1
        self.poller.chunks.clear(&self.mailbox)
        self.poller.chunks.clear(&self.sealed)
        self.sink = None
        self.tls = None

    cdef void flush(self):
        cdef ssize_t sent = 0
        cdef Sink sink = self.sink      # held: what it does may free it
        if self.fd < 0 or self.connecting:
            return
        while self.writable and self.fd >= 0:
            if self.sealed.size:
                sent = self.send_chunks(&self.sealed)
            elif self.mailbox.size == 0:
                break
            elif self.tls is None:
                sent = self.send_chunks(&self.mailbox)
            elif not self.tls.established:
                break
            else:
                sent = self.encrypt()
            if sent < 0:
                if self.finishing and not self.finished:
                    self.finished = True    # nobody hears our last words
                    sink.take_drained()
                return
            if sent:
                if self.full:
                    if self.mailbox.size <= self.limit // 2:
                        self.full = False
                        self.stalled_ticks = 0
                        sink.take_drained()
                else:
                    self.stalled_ticks = 0
        if self.mailbox.size or self.sealed.size:
            if self.stalled_ticks == 0:
                self.stalled_ticks = self.poller.now_ticks
        elif self.finishing and not self.finished and self.fd >= 0:
            self.finished = True
            if self.tls is not None and self.tls.established and not self.tls.sent_close:
                self.tls.close()
                self.finished = False
                self.seal_output()
                return
            shutdown(self.fd, SHUT_WR)
            sink.take_drained()

    cdef ssize_t send_chunks(self, Mailbox* mailbox):
        """One system call from the front of a mailbox: bytes sent, 0 when the socket is full, -1 when it is broken."""
        cdef ssize_t sent = self.send_vectors(vectors, first_chunks(mailbox, VECTORS))
        if sent > 0:
            self.poller.chunks.take(mailbox, sent)
        return sent

    cdef ssize_t send_vectors(self, iovec* regions, int count):
        """One system call for 1 to VECTORS regions: bytes sent, 0 when the socket is full, -1 when it is broken."""
        cdef msghdr message
        cdef ssize_t sent
        if count == 1:
            sent = send(self.fd, regions[0].iov_base, regions[0].iov_len, MSG_NOSIGNAL)
        else:
            memset(&message, 0, sizeof(message))
            message.msg_iov = regions
            message.msg_iovlen = count
            sent = sendmsg(self.fd, &message, MSG_NOSIGNAL)
        return self.not_sent() if sent < 0 else sent

    cdef ssize_t send_output(self):
        """Sends what TLS has produced and seals what the socket does not take; as `send_vectors`, -1 also without output."""
        cdef Output* output = tls_output()
        cdef ssize_t sent
        if output.length == 0:
            self.writable = False   # a TLS failure; the receiver sees it too
            return -1
        sent = send(self.fd, output.data, output.length, MSG_NOSIGNAL)
        if sent < 0:
            sent = self.not_sent()
        if sent >= 0 and <size_t> sent < output.length:
            self.poller.chunks.put(&self.sealed, output.data + sent, output.length - sent)
        output.length = 0
        return sent

    cdef ssize_t not_sent(self):
        """0 if the socket is full for now; otherwise it is broken, which its receiver will notice and say."""
        if errno == EAGAIN or errno == EINTR:
            self.writable = False
            return 0
        self.poller.chunks.clear(&self.mailbox)
        self.poller.chunks.clear(&self.sealed)
        return -1

    cdef ssize_t encrypt(self):
        """Encrypts from the front of the mailbox until the common output buffer is well filled, and sends that."""
        cdef Py_ssize_t taken
        while self.mailbox.size and tls_output().length < SEALED_AT_ONCE_BYTES:
            taken = self.tls.write(vectors, first_chunks(&self.mailbox, RECORD_VECTORS))
            if taken <= 0:
                break
            self.poller.chunks.take(&self.mailbox, taken)
        return self.send_output()


cdef int first_chunks(Mailbox* mailbox, int most) noexcept:
    """Points `vectors` at the first chunks; returns how many."""
    cdef Chunk* chunk = mailbox.head
    cdef int count = 0
    while chunk != NULL and count < most:
        vectors[count].iov_base = chunk.data + chunk.begin
        vectors[count].iov_len = chunk.end - chunk.begin
        count += 1
        chunk = chunk.next
    return count
