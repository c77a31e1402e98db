"""What a TLS 1.3 handshake leaves for the records after it: traffic secrets, and the secret that channel binding comes from.

OpenSSL gives these secrets out in one way only, as lines for a key log. They are read here while the handshake takes the
step that they come from, and none is kept as text or written anywhere:

    SERVER_TRAFFIC_SECRET_0 <client random, 64 hexadecimal digits> <secret, 64 or 96 digits>

The exporter's and the server's come with its Finished, the client's with the client's, one or more steps later. OpenSSL
takes its time to write a line, so that the key log is on only between Finished and the end of the step: the two secrets
of the handshake itself come before, and nobody wants them.
"""

from libc.stdlib cimport calloc, free
from libc.string cimport memcpy, strchr, strlen, strncmp

from megaphone.sockets.openssl cimport *

cdef bytes EXPORTER_LABEL = b"EXPORTER-Channel-Binding"     # RFC 9266 section 2

cdef enum:
    FINISHED = 20               # a handshake message's type (RFC 8446 appendix B.3)
    DIGEST_BYTES = 64
    INFO_BYTES = 128

# The handshake that takes a step at the moment.
cdef SSL* stepping = NULL
cdef Secrets* heard = NULL
cdef SSL_CTX* listening = NULL


cdef Secrets* secrets_new() noexcept:
    return <Secrets*> calloc(1, sizeof(Secrets))


cdef void secrets_free(Secrets* secrets) noexcept:
    """Wipes and frees; NULL is allowed."""
    if secrets != NULL:
        OPENSSL_cleanse(secrets, sizeof(Secrets))
        free(secrets)


cdef void forget_traffic(Secrets* secrets) noexcept:
    """Wipes what the records have copied."""
    OPENSSL_cleanse(&secrets.incoming, sizeof(Secret))
    OPENSSL_cleanse(&secrets.outgoing, sizeof(Secret))


cdef int shake_hands(SSL* ssl, Secrets* secrets) noexcept:
    """One step of a handshake (SSL_do_handshake); its secrets are put into `secrets` (NULL: nobody wants them)."""
    global stepping, heard, listening
    cdef int result
    stepping = ssl
    heard = secrets
    result = SSL_do_handshake(ssl)
    stepping = NULL
    if listening != NULL:
        SSL_CTX_set_keylog_callback(listening, NULL)
        listening = NULL
    return result


cdef void on_message(int write, int version, int type, const void* message, size_t length, SSL* ssl, void* argument) noexcept:
    """Set for contexts whose secrets are wanted: OpenSSL has said, or heard, a message."""
    global listening
    if type == SSL3_RT_HANDSHAKE and length and (<const uint8_t*> message)[0] == FINISHED and ssl == stepping and heard != NULL:
        listening = SSL_get_SSL_CTX(ssl)
        SSL_CTX_set_keylog_callback(listening, on_key_log)


cdef void on_key_log(const SSL* ssl, const char* line) noexcept:
    if ssl != stepping or heard == NULL:
        return
    if strncmp(line, "CLIENT_TRAFFIC_SECRET_0 ", 24) == 0:
        read_secret(line + 24, &heard.incoming)
    elif strncmp(line, "SERVER_TRAFFIC_SECRET_0 ", 24) == 0:
        read_secret(line + 24, &heard.outgoing)
    elif strncmp(line, "EXPORTER_SECRET ", 16) == 0:
        read_secret(line + 16, &heard.exporter)


cdef void read_secret(const char* random, Secret* into) noexcept:
    """The last word of a line: 32 or 48 bytes."""
    cdef const char* text = strchr(random, c" ")
    cdef int count = 0, high, low
    into.length = 0
    if text == NULL:
        return
    text += 1
    while text[0]:
        high = digit(text[0])
        low = digit(text[1])
        if high < 0 or low < 0 or count == SECRET_BYTES:
            return
        into.bytes[count] = <uint8_t> (high << 4 | low)
        count += 1
        text += 2
    if count == 32 or count == 48:
        into.length = <uint8_t> count


cdef inline int digit(char letter) noexcept:
    if c"0" <= letter <= c"9":
        return letter - c"0"
    if c"a" <= letter <= c"f":
        return letter - c"a" + 10
    return letter - c"A" + 10 if c"A" <= letter <= c"F" else -1


cdef bint export_binding(SSL* ssl, uint8_t* into) noexcept:
    """`tls-exporter` (RFC 9266), 32 bytes, of a handshake whose SSL object is still there."""
    return SSL_export_keying_material(
        ssl, into, BINDING_BYTES, <const char*> EXPORTER_LABEL, len(EXPORTER_LABEL), NULL, 0, 0) == 1


cdef bint derive_binding(Secrets* secrets) noexcept:
    """The same afterwards, into `binding` (RFC 8446 section 7.5); False if the secret it comes from is not known."""
    cdef uint8_t nothing[DIGEST_BYTES]
    cdef uint8_t secret[DIGEST_BYTES]
    cdef uint8_t material[DIGEST_BYTES]
    cdef uint8_t size = secrets.exporter.length
    cdef const EVP_MD* hash = EVP_sha384() if size == 48 else EVP_sha256()
    if secrets.bound or size == 0:
        return secrets.bound
    secrets.bound = (EVP_Digest(NULL, 0, nothing, NULL, hash, NULL) == 1
                     and expand(hash, secrets.exporter.bytes, <const char*> EXPORTER_LABEL, nothing, size, secret)
                     and expand(hash, secret, "exporter", nothing, BINDING_BYTES, material))
    if secrets.bound:
        memcpy(secrets.binding, material, BINDING_BYTES)
        OPENSSL_cleanse(&secrets.exporter, sizeof(Secret))
    OPENSSL_cleanse(secret, DIGEST_BYTES)
    OPENSSL_cleanse(material, DIGEST_BYTES)
    return secrets.bound


cdef bint expand(const EVP_MD* hash, const uint8_t* secret, const char* label, const uint8_t* context, uint8_t length,
                 uint8_t* into) noexcept:
    """HKDF-Expand-Label (RFC 8446 section 7.1) of at most the hash's length, which is one HMAC; `into` has room for the hash."""
    cdef uint8_t info[INFO_BYTES]
    cdef size_t size = EVP_MD_get_size(hash), words = strlen(label)
    info[0], info[1], info[2] = 0, length, <uint8_t> (6 + words)
    memcpy(info + 3, <const char*> b"tls13 ", 6)
    memcpy(info + 9, label, words)
    info[9 + words] = <uint8_t> size
    memcpy(info + 10 + words, context, size)
    info[10 + words + size] = 1
    return HMAC(hash, secret, <int> size, info, 11 + words + size, into, NULL) != NULL


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
