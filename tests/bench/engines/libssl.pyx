"""Megaphone's own TLS engine, as a Python server can call it."""

from cpython.bytes cimport PyBytes_FromStringAndSize
from libc.stdint cimport uint8_t
from posix.uio cimport iovec

from megaphone.sockets.tls cimport DONE, TLS
from megaphone.sockets.tls_bio cimport tls_output

import os

from megaphone.sockets.tls_contexts import CertificateChoice, TLSContext
from megaphone.sockets.tls_tickets import set_ticket_keys

cdef enum:
    READ_BYTES = 65536

cdef uint8_t shared[READ_BYTES]


def context(chain, key, record_layer):
    """The certificate, with a ticket key as the supervisor would give one."""
    set_ticket_keys([os.urandom(80)])
    return CertificateChoice([TLSContext(chain, key)], record_layer=record_layer)


cdef class Libssl:
    """One connection."""

    cdef TLS tls
    cdef bytes said

    def __cinit__(self, choice):
        self.tls = TLS(choice)
        self.said = b""

    cdef void collect(self):
        if tls_output().length:
            self.said += PyBytes_FromStringAndSize(<const char*> tls_output().data, tls_output().length)
            tls_output().length = 0

    def take(self, const uint8_t[::1] data not None):
        """Decrypt; b"" while the handshake goes on, None at the end."""
        cdef Py_ssize_t length = 1
        cdef bytes taken = b""
        self.tls.feed(&data[0], data.shape[0])
        if self.tls.established or self.tls.handshake() == DONE:
            while length > 0:
                length = self.tls.read(shared, READ_BYTES)
                if length > 0:
                    taken += PyBytes_FromStringAndSize(<const char*> shared, length)
        self.collect()
        return None if length < 0 else taken

    def say(self, bytes data not None):
        """Encrypt."""
        cdef iovec region
        region.iov_base = <void*> (<const char*> data)
        region.iov_len = len(data)
        self.tls.write(&region, 1)
        self.collect()

    def output(self):
        """The ciphertext produced."""
        said = self.said
        self.said = b""
        return said
