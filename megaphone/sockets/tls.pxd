# TLS on memory: the compiled interface of contexts and sessions.
from libc.stdint cimport uint8_t
from megaphone.sockets.openssl cimport SSL, SSL_CTX

cpdef enum Handshake:
    UNDER_WAY = 0
    DONE = 1
    FAILED = 2

cdef enum:                      # what TLS.read and TLS.write return besides a number of bytes
    PEER_CLOSED = -1            # close_notify (RFC 8446 section 6.1)
    TLS_BROKEN = -2

cdef class TLSContext:
    cdef SSL_CTX* context
    cdef readonly str chain
    cdef readonly tuple names

cdef class CertificateChoice:
    cdef readonly list contexts
    cdef dict chosen
    cdef TLSContext context_for(self, str name)

cdef class ClientContext:
    cdef SSL_CTX* context
    cdef bytes server_name
    cdef bint is_address

cdef class TLS:
    cdef SSL* ssl
    cdef object context                 # CertificateChoice, which OpenSSL's callbacks point at, or ClientContext
    cdef readonly bint established
    cdef bint sent_close

    cdef void feed(self, const uint8_t* data, size_t length) noexcept
    cdef int handshake(self) noexcept
    cdef Py_ssize_t read(self, uint8_t* into, size_t length) noexcept
    cdef Py_ssize_t write(self, const uint8_t* data, size_t length) noexcept
    cdef void close(self) noexcept
    cdef bint is_unique(self) noexcept

cdef enum:
    OUTPUT_BYTES = 131072

# Ciphertext that OpenSSL has produced and nobody has taken yet; one buffer for all sessions of the worker.
cdef uint8_t* tls_output() noexcept
cdef size_t tls_output_length() noexcept
cdef void tls_output_clear() noexcept
