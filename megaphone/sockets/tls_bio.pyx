"""What TLS reads and writes through: one input, one output and one BIO, shared by all connections of the worker.

Usually each connection has a pair of memory BIOs with buffers of their own. Here the input is the read buffer just filled,
and the output is one common buffer that is emptied right after each call, so that no connection keeps a buffer. OpenSSL and
the records of our own (wire/tls_records.pyx) use the same two, so one may go on where the other has stopped.
"""

from libc.stdint cimport uint8_t
from libc.string cimport memcpy

from megaphone.sockets.openssl cimport *

cdef enum:
    OUTPUT_BYTES = 131072

cdef uint8_t output_buffer[OUTPUT_BYTES]
cdef Output output = Output(&output_buffer[0], 0, OUTPUT_BYTES)
cdef Input input = Input(NULL, 0)
cdef BIO* bio = NULL


cdef int bio_write(BIO* self, const char* data, size_t length, size_t* written) noexcept:
    BIO_clear_retry_flags(self)
    if length > output.room - output.length:
        BIO_set_retry_write(self)
        return 0
    memcpy(output.data + output.length, data, length)
    output.length += length
    written[0] = length
    return 1


cdef int bio_read(BIO* self, char* into, size_t length, size_t* taken) noexcept:
    BIO_clear_retry_flags(self)
    if input.length == 0:
        BIO_set_retry_read(self)
        return 0
    if length > input.length:
        length = input.length
    memcpy(into, input.data, length)
    input.data += length
    input.length -= length
    taken[0] = length
    return 1


cdef long bio_ctrl(BIO* self, int command, long number, void* pointer) noexcept:
    return 1 if command == BIO_CTRL_FLUSH else 0


cdef void make_bio():
    global bio
    cdef BIO_METHOD* method = BIO_meth_new(BIO_TYPE_SOURCE_SINK | 126, "worker buffers")
    BIO_meth_set_write_ex(method, bio_write)
    BIO_meth_set_read_ex(method, bio_read)
    BIO_meth_set_ctrl(method, bio_ctrl)
    bio = BIO_new(method)
    BIO_set_init(bio, 1)

make_bio()


cdef BIO* shared_bio() noexcept:
    """The BIO, with a reference that the caller owns."""
    BIO_up_ref(bio)
    return bio


cdef Input* tls_input() noexcept:
    return &input


cdef Output* tls_output() noexcept:
    return &output
