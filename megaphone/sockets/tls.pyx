"""TLS: OpenSSL on memory, with nothing kept per connection but its SSL object.

Theory of operation. OpenSSL reads and writes through a BIO. Usually that is a pair of memory BIOs per connection, with
buffers of their own; here it is one BIO shared by all sessions of the worker, whose input is the read buffer just
filled and whose output is one common buffer that is emptied right after each call. A session between two calls
therefore holds no bytes except an incomplete record inside OpenSSL (SSL_MODE_RELEASE_BUFFERS frees even that buffer
when it is empty).

    feed(ciphertext) ─► handshake() / read() ─► plaintext          write(plaintext) ─► tls_output()

The module is for one thread, as a worker is. Decision and figures: docs/explanation/decisions/0002-tls-engine.md.
"""

cimport cython
from megaphone.sockets.openssl cimport *
from cpython.bytes cimport PyBytes_FromStringAndSize
from libc.string cimport memcmp, memcpy

from megaphone.errors import TLSError

# --- the shared BIO ---

cdef const uint8_t* input_data = NULL
cdef size_t input_length = 0
cdef uint8_t output[OUTPUT_BYTES]
cdef size_t output_length = 0
cdef BIO* shared_bio = NULL


cdef int bio_write(BIO* bio, const char* data, size_t length, size_t* written) noexcept:
    global output_length
    BIO_clear_retry_flags(bio)
    if length > OUTPUT_BYTES - output_length:
        BIO_set_retry_write(bio)
        return 0
    memcpy(output + output_length, data, length)
    output_length += length
    written[0] = length
    return 1


cdef int bio_read(BIO* bio, char* into, size_t length, size_t* taken) noexcept:
    global input_data, input_length
    BIO_clear_retry_flags(bio)
    if input_length == 0:
        BIO_set_retry_read(bio)
        return 0
    if length > input_length:
        length = input_length
    memcpy(into, input_data, length)
    input_data += length
    input_length -= length
    taken[0] = length
    return 1


cdef long bio_ctrl(BIO* bio, int command, long number, void* pointer) noexcept:
    return 1 if command == BIO_CTRL_FLUSH else 0


cdef void make_shared_bio():
    global shared_bio
    cdef BIO_METHOD* method = BIO_meth_new(BIO_TYPE_SOURCE_SINK | 126, "worker buffers")
    BIO_meth_set_write_ex(method, bio_write)
    BIO_meth_set_read_ex(method, bio_read)
    BIO_meth_set_ctrl(method, bio_ctrl)
    shared_bio = BIO_new(method)
    BIO_set_init(shared_bio, 1)

make_shared_bio()


cdef uint8_t* tls_output() noexcept:
    return output

cdef size_t tls_output_length() noexcept:
    return output_length

cdef void tls_output_clear() noexcept:
    global output_length
    output_length = 0

# --- session tickets ---

cdef enum:
    TICKET_KEY_BYTES = 80      # 16 name, 32 AES-256, 32 HMAC-SHA-256
    TICKET_KEYS_LIMIT = 3

cdef uint8_t ticket_keys[3][80]
cdef int ticket_key_count = 0


def set_ticket_keys(keys):
    """The ticket keys of the node, newest first: 1 to 3 of 80 bytes each. The newest encrypts; all decrypt (RFC 5077)."""
    global ticket_key_count
    if not 1 <= len(keys) <= TICKET_KEYS_LIMIT or any(len(key) != TICKET_KEY_BYTES for key in keys):
        raise ValueError("1 to 3 ticket keys of 80 bytes")
    cdef int index
    cdef const unsigned char[::1] view
    for index, key in enumerate(keys):
        view = key
        memcpy(ticket_keys[index], &view[0], TICKET_KEY_BYTES)
    ticket_key_count = len(keys)


cdef int on_ticket_key(SSL* ssl, unsigned char* name, unsigned char* iv, EVP_CIPHER_CTX* cipher, EVP_MAC_CTX* mac, int encrypt) noexcept:
    """1: go on; 2: go on and give the client a new ticket; 0: unknown ticket, do a full handshake; -1: failure."""
    cdef int index = 0
    cdef OSSL_PARAM parameters[3]
    if encrypt:
        if ticket_key_count == 0 or RAND_bytes(iv, 16) != 1:
            return -1
        memcpy(name, ticket_keys[0], 16)
    else:
        while index < ticket_key_count and memcmp(name, ticket_keys[index], 16) != 0:
            index += 1
        if index == ticket_key_count:
            return 0
    parameters[0] = OSSL_PARAM_construct_octet_string("key", ticket_keys[index] + 48, 32)
    parameters[1] = OSSL_PARAM_construct_utf8_string("digest", "sha256", 0)
    parameters[2] = OSSL_PARAM_construct_end()
    if EVP_MAC_CTX_set_params(mac, parameters) != 1:
        return -1
    if encrypt:
        return 1 if EVP_EncryptInit_ex(cipher, EVP_aes_256_cbc(), NULL, ticket_keys[0] + 16, iv) == 1 else -1
    if EVP_DecryptInit_ex(cipher, EVP_aes_256_cbc(), NULL, ticket_keys[index] + 16, iv) != 1:
        return -1
    # a TLS 1.3 client uses a ticket once (RFC 8446 appendix C.4) and needs the next one
    return 2 if index > 0 or SSL_version(ssl) >= TLS1_3_VERSION else 1

# --- contexts ---

cdef bytes ALPN = b"xmpp-client"   # XEP-0368 section 4


cdef int on_alpn(SSL* ssl, const unsigned char** chosen, unsigned char* chosen_length, const unsigned char* offered, unsigned int length, void* strict) noexcept:
    cdef unsigned int i = 0, size
    while i < length:
        size = offered[i]
        if i + 1 + size > length:
            break
        if size == 11 and memcmp(offered + i + 1, <const char*> ALPN, 11) == 0:
            chosen[0] = offered + i + 1
            chosen_length[0] = 11
            return SSL_TLSEXT_ERR_OK
        i += 1 + size
    return SSL_TLSEXT_ERR_ALERT_FATAL   # RFC 7301 section 3.2: no_application_protocol


cdef int on_servername(SSL* ssl, int* alert, void* argument) noexcept:
    """Switches to the certificate for the name the client asked for; an unknown name keeps the first one (RFC 6066 section 3)."""
    cdef const char* name = SSL_get_servername(ssl, TLSEXT_NAMETYPE_host_name)
    cdef TLSContext context
    if name == NULL:
        return SSL_TLSEXT_ERR_NOACK
    try:
        context = (<CertificateChoice> argument).context_for(name.decode("ascii").lower().rstrip("."))
    except UnicodeDecodeError:
        return SSL_TLSEXT_ERR_NOACK
    if context is None:
        return SSL_TLSEXT_ERR_NOACK
    SSL_set_SSL_CTX(ssl, context.context)
    return SSL_TLSEXT_ERR_OK


cdef str first_error():
    cdef char text[256]
    cdef unsigned long code = ERR_get_error()
    cdef const char* reason = ERR_reason_error_string(code)
    if reason != NULL:
        message = reason.decode("ascii", "replace")
    else:
        ERR_error_string_n(code, text, sizeof(text))
        message = (<bytes> text).decode("ascii", "replace")
    ERR_clear_error()
    return message


def last_error():
    """What OpenSSL says of the call that has just failed."""
    return first_error()


cdef class TLSContext:
    """One certificate chain and its key, ready for handshakes.

    `minimum_version` is "1.2" or "1.3"; `ciphers` and `groups` are OpenSSL lists. With `client_ca`, a PEM file, only a
    client with a certificate of these authorities is served. TLSError says what OpenSSL refused.
    """

    def __cinit__(self, str chain, str key, tuple names=(), *, str minimum_version="1.2", str ciphers="ECDHE+AESGCM:ECDHE+CHACHA20",
                  str groups="X25519:P-256:P-384", bint session_tickets=True, str client_ca=""):
        cdef SSL_CTX* context = SSL_CTX_new(TLS_server_method())
        if context == NULL:
            raise MemoryError
        self.context = context
        self.chain = chain
        self.names = tuple(name.lower() for name in names)
        ERR_clear_error()
        SSL_CTX_set_min_proto_version(context, TLS1_3_VERSION if minimum_version == "1.3" else TLS1_2_VERSION)
        if SSL_CTX_use_certificate_chain_file(context, chain.encode()) != 1:
            raise TLSError(f"certificate chain {chain}: {first_error()}")
        if SSL_CTX_use_PrivateKey_file(context, key.encode(), SSL_FILETYPE_PEM) != 1:
            raise TLSError(f"private key {key}: {first_error()}")
        if SSL_CTX_check_private_key(context) != 1:
            raise TLSError(f"private key {key} does not belong to {chain}: {first_error()}")
        if SSL_CTX_set_cipher_list(context, ciphers.encode()) != 1:
            raise TLSError(f"ciphers {ciphers!r}: {first_error()}")
        if SSL_CTX_set1_groups_list(context, groups.encode()) != 1:
            raise TLSError(f"groups {groups!r}: {first_error()}")
        if client_ca:
            if SSL_CTX_load_verify_locations(context, client_ca.encode(), NULL) != 1:
                raise TLSError(f"certificate authorities {client_ca}: {first_error()}")
            SSL_CTX_set_client_CA_list(context, SSL_load_client_CA_file(client_ca.encode()))
            SSL_CTX_set_verify(context, SSL_VERIFY_PEER | SSL_VERIFY_FAIL_IF_NO_PEER_CERT, NULL)
        SSL_CTX_set_options(context, SSL_OP_NO_RENEGOTIATION | SSL_OP_NO_COMPRESSION | SSL_OP_CIPHER_SERVER_PREFERENCE
                            | SSL_OP_PRIORITIZE_CHACHA | (0 if session_tickets else SSL_OP_NO_TICKET))
        SSL_CTX_set_mode(context, SSL_MODE_RELEASE_BUFFERS | SSL_MODE_ENABLE_PARTIAL_WRITE | SSL_MODE_ACCEPT_MOVING_WRITE_BUFFER)
        # stateless tickets only: a session cache would be memory per client, and useless on another worker
        SSL_CTX_set_session_cache_mode(context, SSL_SESS_CACHE_OFF)
        SSL_CTX_set_session_id_context(context, <const unsigned char*> "megaphone", 9)
        SSL_CTX_set_num_tickets(context, 1 if session_tickets else 0)
        SSL_CTX_set_tlsext_ticket_key_evp_cb(context, on_ticket_key)
        SSL_CTX_set_alpn_select_cb(context, on_alpn, NULL)

    def __dealloc__(self):
        SSL_CTX_free(self.context)

    def serves(self, str name):
        """Whether this certificate is for `name` (lower case; RFC 6125 matching, or the names given in the configuration)."""
        if self.names:
            return name in self.names or "*." + name.partition(".")[2] in self.names
        encoded = name.encode("ascii")
        return X509_check_host(SSL_CTX_get0_certificate(self.context), <const char*> encoded, len(encoded), 0, NULL) == 1


cdef class CertificateChoice:
    """All certificates of a listener; the first is for clients without SNI or with a name nobody serves."""

    def __cinit__(self, contexts):
        cdef TLSContext context
        self.contexts = list(contexts)
        if not self.contexts:
            raise ValueError("a choice needs a certificate")
        self.chosen = {}
        for context in self.contexts:
            SSL_CTX_set_tlsext_servername_callback(context.context, on_servername)
            SSL_CTX_set_tlsext_servername_arg(context.context, <void*> self)

    cdef TLSContext context_for(self, str name):
        if name in self.chosen:
            return self.chosen[name]
        found = next((context for context in self.contexts if context.serves(name)), None)
        if len(self.chosen) >= 4096:    # names come from clients: forget rather than grow
            self.chosen.clear()
        self.chosen[name] = found
        return found


cdef class ClientContext:
    """What the edge shows and demands where it is the client: both sides have a certificate (mutual TLS).

    `ca` has the certificates that the server's must lead to; it must be for `server_name`, a host name or IP address.
    """

    def __cinit__(self, str ca, str certificate, str key, str server_name, bint is_address=False):
        cdef SSL_CTX* context = SSL_CTX_new(TLS_client_method())
        if context == NULL:
            raise MemoryError
        self.context = context
        self.server_name = server_name.encode("ascii")
        self.is_address = is_address
        ERR_clear_error()
        SSL_CTX_set_min_proto_version(context, TLS1_2_VERSION)
        if SSL_CTX_load_verify_locations(context, ca.encode(), NULL) != 1:
            raise TLSError(f"authorities {ca}: {first_error()}")
        if SSL_CTX_use_certificate_chain_file(context, certificate.encode()) != 1:
            raise TLSError(f"certificate chain {certificate}: {first_error()}")
        if SSL_CTX_use_PrivateKey_file(context, key.encode(), SSL_FILETYPE_PEM) != 1 or SSL_CTX_check_private_key(context) != 1:
            raise TLSError(f"private key {key} for {certificate}: {first_error()}")
        SSL_CTX_set_verify(context, SSL_VERIFY_PEER, NULL)
        SSL_CTX_set_options(context, SSL_OP_NO_RENEGOTIATION | SSL_OP_NO_COMPRESSION)
        SSL_CTX_set_mode(context, SSL_MODE_RELEASE_BUFFERS | SSL_MODE_ENABLE_PARTIAL_WRITE | SSL_MODE_ACCEPT_MOVING_WRITE_BUFFER)

    def __dealloc__(self):
        SSL_CTX_free(self.context)


# --- sessions ---

cdef enum:
    FINISHED_BYTES = 64
    EXPORTER_BYTES = 32

cdef bytes EXPORTER_LABEL = b"EXPORTER-Channel-Binding"     # RFC 9266 section 2


@cython.no_gc
cdef class TLS:
    """One TLS connection: the server side for a CertificateChoice, the client side for a ClientContext."""

    def __cinit__(self, context not None):
        cdef ClientContext client
        self.context = context
        if isinstance(context, CertificateChoice):
            self.ssl = SSL_new((<TLSContext> (<CertificateChoice> context).contexts[0]).context)
        else:
            self.ssl = SSL_new((<ClientContext?> context).context)
        if self.ssl == NULL:
            raise MemoryError
        BIO_up_ref(shared_bio)
        SSL_set_bio(self.ssl, shared_bio, shared_bio)
        if isinstance(context, CertificateChoice):
            SSL_set_accept_state(self.ssl)
            return
        client = context
        SSL_set_connect_state(self.ssl)
        if client.is_address:       # which is no server name (RFC 6066 section 3)
            X509_VERIFY_PARAM_set1_ip_asc(SSL_get0_param(self.ssl), <const char*> client.server_name)
        else:
            X509_VERIFY_PARAM_set1_host(SSL_get0_param(self.ssl), <const char*> client.server_name, 0)
            SSL_set_tlsext_host_name(self.ssl, <const char*> client.server_name)

    def __dealloc__(self):
        SSL_free(self.ssl)

    cdef void feed(self, const uint8_t* data, size_t length) noexcept:
        """The ciphertext that the next calls read; it must stay valid until they have returned 0 (all taken)."""
        global input_data, input_length
        input_data = data
        input_length = length

    cdef int handshake(self) noexcept:
        cdef int result, error
        ERR_clear_error()
        result = SSL_do_handshake(self.ssl)
        if result == 1:
            self.established = True
            return DONE
        error = SSL_get_error(self.ssl, result)
        return UNDER_WAY if error == SSL_ERROR_WANT_READ or error == SSL_ERROR_WANT_WRITE else FAILED

    cdef Py_ssize_t read(self, uint8_t* into, size_t length) noexcept:
        """Bytes of plaintext; 0: wants more ciphertext; PEER_CLOSED; TLS_BROKEN."""
        cdef int result, error
        ERR_clear_error()
        result = SSL_read(self.ssl, into, <int> length)
        if result > 0:
            return result
        error = SSL_get_error(self.ssl, result)
        if error == SSL_ERROR_WANT_READ or error == SSL_ERROR_WANT_WRITE:
            return 0
        if error == SSL_ERROR_ZERO_RETURN:
            return PEER_CLOSED
        self.sent_close = True      # an alert says it all
        return TLS_BROKEN

    cdef Py_ssize_t write(self, const uint8_t* data, size_t length) noexcept:
        """Bytes taken (at most one record, 16 KiB); 0: the output buffer is full; TLS_BROKEN."""
        cdef int result, error
        ERR_clear_error()
        result = SSL_write(self.ssl, data, <int> (16384 if length > 16384 else length))
        if result > 0:
            return result
        error = SSL_get_error(self.ssl, result)
        return 0 if error == SSL_ERROR_WANT_READ or error == SSL_ERROR_WANT_WRITE else TLS_BROKEN

    cdef void close(self) noexcept:
        """Puts close_notify into the output, once (RFC 8446 section 6.1)."""
        if self.established and not self.sent_close:
            self.sent_close = True
            ERR_clear_error()
            SSL_shutdown(self.ssl)

    @property
    def version(self):
        """"TLSv1.2" or "TLSv1.3"."""
        return SSL_get_version(self.ssl).decode("ascii")

    @property
    def cipher(self):
        """OpenSSL's name of the cipher suite."""
        return SSL_CIPHER_get_name(SSL_get_current_cipher(self.ssl)).decode("ascii")

    @property
    def server_name(self):
        """The name the client asked for (SNI), or None."""
        cdef const char* name = SSL_get_servername(self.ssl, TLSEXT_NAMETYPE_host_name)
        return None if name == NULL else name.decode("ascii", "replace").lower()

    @property
    def alpn(self):
        """The application protocol chosen, or b""."""
        cdef const unsigned char* data
        cdef unsigned int length
        SSL_get0_alpn_selected(self.ssl, &data, &length)
        return PyBytes_FromStringAndSize(<const char*> data, length) if length else b""

    @property
    def resumed(self):
        """Whether a session ticket saved the full handshake."""
        return SSL_session_reused(self.ssl) == 1

    @property
    def peer_refusal(self):
        """Why the peer's certificate was not accepted, or ""."""
        cdef long result = SSL_get_verify_result(self.ssl)
        return "" if result == X509_V_OK else X509_verify_cert_error_string(result).decode("ascii", "replace")

    @property
    def exporter(self):
        """`tls-exporter` (RFC 9266), 32 bytes; None where it would not be unique: TLS 1.2 without RFC 7627."""
        cdef uint8_t material[EXPORTER_BYTES]
        if not self.established or not self.is_unique():
            return None
        if SSL_export_keying_material(self.ssl, material, EXPORTER_BYTES, <const char*> EXPORTER_LABEL,
                                      len(EXPORTER_LABEL), NULL, 0, 0) != 1:
            return None
        return PyBytes_FromStringAndSize(<const char*> material, EXPORTER_BYTES)

    @property
    def unique(self):
        """`tls-unique` (RFC 5929 section 3) of a server: the first Finished of the handshake; None for TLS 1.3."""
        cdef uint8_t finished[FINISHED_BYTES]
        cdef size_t length
        if not self.established or SSL_version(self.ssl) >= TLS1_3_VERSION or not self.is_unique():
            return None
        # the client says the first Finished in a full handshake, the server in a resumed one
        if SSL_session_reused(self.ssl):
            length = SSL_get_finished(self.ssl, finished, FINISHED_BYTES)
        else:
            length = SSL_get_peer_finished(self.ssl, finished, FINISHED_BYTES)
        return PyBytes_FromStringAndSize(<const char*> finished, length)

    cdef bint is_unique(self) noexcept:
        """Whether two connections cannot have the same keys: the triple handshake (RFC 7627 section 1)."""
        return SSL_version(self.ssl) >= TLS1_3_VERSION or SSL_get_extms_support(self.ssl) == 1

    @property
    def certificate_hash(self):
        """`tls-server-end-point` (RFC 5929 section 4) of our certificate; None if its signature has no hash."""
        cdef unsigned char digest[64]
        cdef unsigned int length = 0
        cdef int hash_id = 0, key_id = 0
        cdef X509* certificate = SSL_get_certificate(self.ssl)
        cdef const EVP_MD* hash
        if certificate == NULL or OBJ_find_sigid_algs(X509_get_signature_nid(certificate), &hash_id, &key_id) != 1:
            return None
        hash = EVP_sha256() if hash_id == NID_md5 or hash_id == NID_sha1 else EVP_get_digestbynid(hash_id)
        if hash == NULL or X509_digest(certificate, hash, digest, &length) != 1:
            return None
        return PyBytes_FromStringAndSize(<const char*> digest, length)
