# What a handshake leaves for the records after it, compiled interface.
from libc.stdint cimport uint8_t, uint64_t
from megaphone.sockets.openssl cimport SSL

cdef enum:
    SECRET_BYTES = 48
    EXPORTER_BYTES = 32

cdef struct Secrets:
    uint8_t incoming[SECRET_BYTES]      # client_application_traffic_secret_0 (RFC 8446 section 7.1)
    uint8_t outgoing[SECRET_BYTES]      # server_application_traffic_secret_0
    uint8_t exporter[EXPORTER_BYTES]    # `tls-exporter` (RFC 9266)
    bint incoming_known
    bint outgoing_known
    bint exporter_known

cdef Secrets* secrets_new() noexcept
cdef void secrets_free(Secrets* secrets) noexcept
cdef void forget_traffic(Secrets* secrets) noexcept
cdef void listen_for(const SSL* ssl, Secrets* secrets) noexcept
cdef void on_key_log(const SSL* ssl, const char* line) noexcept
cdef bint export_binding(SSL* ssl, uint8_t* into) noexcept
cdef bint count_records(const uint8_t* data, size_t length, uint64_t* count) noexcept
