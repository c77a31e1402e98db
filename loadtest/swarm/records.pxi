# The record layer of the swarm's TLS 1.3 sessions is Megaphone's, the one thing that a load test takes from it: it is for
# any server, and tested against OpenSSL. Included by engine.pyx.

from posix.uio cimport iovec
from megaphone.wire.tls_records cimport (
    Input, Output, Records, records_close, records_free, records_new, records_open, records_seal,
)


cdef void* begin_records(uint16_t suite, const uint8_t* incoming, const uint8_t* outgoing) noexcept:
    return records_new(suite, incoming, outgoing, 0, 0, True)


cdef void end_records(void* records) noexcept:
    records_free(<Records*> records)


cdef ssize_t open_records(void* records, const uint8_t** at, size_t* length, uint8_t* into, size_t room) noexcept:
    cdef Input input
    cdef ssize_t size
    input.data, input.length = at[0], length[0]
    size = records_open(<Records*> records, &input, into, room)
    at[0], length[0] = input.data, input.length
    return size


cdef ssize_t seal_records(void* records, const char* data, size_t length, uint8_t* into, size_t room, size_t* written) noexcept:
    cdef Output output
    cdef iovec region
    cdef ssize_t taken
    output.data, output.length, output.room = into, 0, room
    region.iov_base, region.iov_len = <void*> data, length
    taken = records_seal(<Records*> records, &region, 1, &output)
    written[0] = output.length
    return taken


cdef size_t close_records(void* records, uint8_t* into, size_t room) noexcept:
    cdef Output output
    output.data, output.length, output.room = into, 0, room
    records_close(<Records*> records, &output)
    return output.length


record_layer.begin = begin_records
record_layer.end = end_records
record_layer.open = open_records
record_layer.seal = seal_records
record_layer.close = close_records
