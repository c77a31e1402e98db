# What a handshake leaves for the records after it, compiled interface.
from libc.stdint cimport uint8_t, uint64_t
from megaphone.sockets.openssl cimport SSL

cdef enum:
    SECRET_BYTES = 48
    BINDING_BYTES = 32

cdef struct Secret:                     # RFC 8446 section 7.1
    uint8_t bytes[SECRET_BYTES]
    uint8_t length                      # 32 or 48; 0: not known

cdef struct Secrets:
    Secret incoming                     # client_application_traffic_secret_0
    Secret outgoing                     # server_application_traffic_secret_0
    Secret exporter                     # exporter_master_secret
    uint8_t binding[BINDING_BYTES]      # `tls-exporter` (RFC 9266), once somebody has asked
    bint bound

cdef Secrets* secrets_new() noexcept
cdef void secrets_free(Secrets* secrets) noexcept
cdef void forget_traffic(Secrets* secrets) noexcept
cdef int shake_hands(SSL* ssl, Secrets* secrets) noexcept
cdef void on_message(int write, int version, int type, const void* message, size_t length, SSL* ssl, void* argument) noexcept
cdef bint export_binding(SSL* ssl, uint8_t* into) noexcept
cdef bint derive_binding(Secrets* secrets) noexcept
cdef bint count_records(const uint8_t* data, size_t length, uint64_t* count) noexcept
