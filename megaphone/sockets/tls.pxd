# TLS of one connection, compiled interface.
from libc.stdint cimport uint8_t, uint32_t
from posix.uio cimport iovec
from megaphone.sockets.openssl cimport SSL
from megaphone.sockets.tls_secrets cimport Secrets
from megaphone.wire.tls_records cimport Records

cpdef enum Handshake:
    UNDER_WAY = 0
    DONE = 1
    FAILED = 2

cdef class TLS:
    cdef SSL* ssl                       # NULL once the records go on alone
    cdef Records* records               # of our own; NULL during the handshake, and where OpenSSL stays
    cdef Secrets* secrets               # from the handshake until the client is authenticated
    cdef object context                 # CertificateChoice, which OpenSSL's callbacks point at, or ClientContext; None with records
    cdef str name                       # what is still asked when there is no SSL object
    cdef bytes end_point
    cdef uint8_t was_resumed
    cdef uint8_t has_alpn
    cdef uint8_t sent_close
    cdef readonly bint established

    cdef void feed(self, const uint8_t* data, size_t length) noexcept
    cdef int handshake(self) noexcept
    cdef void take_over(self, size_t before)
    cdef void keep_facts(self)
    # besides a number of bytes: PEER_CLOSED and BROKEN of wire.tls_records
    cdef Py_ssize_t read(self, uint8_t* into, size_t length) noexcept
    cdef Py_ssize_t write(self, const iovec* regions, int count) noexcept
    cdef void close(self) noexcept
    cdef void forget_bindings(self) noexcept
    cdef uint32_t changes(self) noexcept
    cdef bint is_unique(self) noexcept
