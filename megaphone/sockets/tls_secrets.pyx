"""What a TLS 1.3 handshake leaves for the records after it: traffic secrets, and `tls-exporter` for channel binding.

OpenSSL gives traffic secrets out in one way only, as lines for a key log. While a handshake takes one step, its lines are
read here, and none is kept or written anywhere:

    SERVER_TRAFFIC_SECRET_0 <client random, 64 hexadecimal digits> <secret, 64 or 96 digits>

The server's comes with its Finished, the client's with the client's, two or more steps apart.
"""

from libc.stdlib cimport calloc, free
from libc.string cimport strchr, strncmp

from megaphone.sockets.openssl cimport *

cdef bytes EXPORTER_LABEL = b"EXPORTER-Channel-Binding"     # RFC 9266 section 2

# The handshake that takes a step at the moment.
cdef const SSL* stepping = NULL
cdef Secrets* heard = NULL


cdef Secrets* secrets_new() noexcept:
    return <Secrets*> calloc(1, sizeof(Secrets))


cdef void secrets_free(Secrets* secrets) noexcept:
    """Wipes and frees; NULL is allowed."""
    if secrets != NULL:
        OPENSSL_cleanse(secrets, sizeof(Secrets))
        free(secrets)


cdef void forget_traffic(Secrets* secrets) noexcept:
    """Wipes what the records have copied."""
    OPENSSL_cleanse(secrets.incoming, SECRET_BYTES)
    OPENSSL_cleanse(secrets.outgoing, SECRET_BYTES)
    secrets.incoming_known = secrets.outgoing_known = False


cdef void listen_for(const SSL* ssl, Secrets* secrets) noexcept:
    """Until it is called again (NULL: nobody's), secrets of `ssl` are put into `secrets`."""
    global stepping, heard
    stepping = ssl
    heard = secrets


cdef void on_key_log(const SSL* ssl, const char* line) noexcept:
    if ssl != stepping or heard == NULL:
        return
    if strncmp(line, "CLIENT_TRAFFIC_SECRET_0 ", 24) == 0:
        heard.incoming_known = read_secret(line + 24, heard.incoming)
    elif strncmp(line, "SERVER_TRAFFIC_SECRET_0 ", 24) == 0:
        heard.outgoing_known = read_secret(line + 24, heard.outgoing)


cdef bint read_secret(const char* random, uint8_t* into) noexcept:
    """The last word of a line: 32 or 48 bytes."""
    cdef const char* text = strchr(random, c" ")
    cdef int count = 0, high, low
    if text == NULL:
        return False
    text += 1
    while text[0]:
        high = digit(text[0])
        low = digit(text[1])
        if high < 0 or low < 0 or count == SECRET_BYTES:
            return False
        into[count] = <uint8_t> (high << 4 | low)
        count += 1
        text += 2
    return count == 32 or count == 48


cdef inline int digit(char letter) noexcept:
    if c"0" <= letter <= c"9":
        return letter - c"0"
    if c"a" <= letter <= c"f":
        return letter - c"a" + 10
    return letter - c"A" + 10 if c"A" <= letter <= c"F" else -1


cdef bint export_binding(SSL* ssl, uint8_t* into) noexcept:
    """`tls-exporter` (RFC 9266), 32 bytes, of a finished handshake."""
    return SSL_export_keying_material(
        ssl, into, EXPORTER_BYTES, <const char*> EXPORTER_LABEL, len(EXPORTER_LABEL), NULL, 0, 0) == 1


cdef bint count_records(const uint8_t* data, size_t length, uint64_t* count) noexcept:
    """How many protected records (RFC 8446 section 5.2) these bytes are; False if they are anything else."""
    cdef size_t size
    count[0] = 0
    while length:
        if length < 5 or data[0] != 0x17 or data[1] != 3 or data[2] != 3:
            return False
        size = 5 + (data[3] << 8 | data[4])
        if size > length:
            return False
        data += size
        length -= size
        count[0] += 1
    return True
