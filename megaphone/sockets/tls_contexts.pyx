"""Certificates and the rules of handshakes: what OpenSSL keeps once for all connections of a listener or a link."""

from cpython.bytes cimport PyBytes_FromStringAndSize
from libc.string cimport memcmp

from megaphone.sockets.openssl cimport *
from megaphone.sockets.tls_secrets cimport on_message
from megaphone.sockets.tls_tickets cimport on_ticket_key

from megaphone.errors import TLSError

cdef enum:
    NAMES_LIMIT = 4096      # they come from clients: forget rather than grow

cdef bytes ALPN = b"xmpp-client"   # XEP-0368 section 4
cdef bytes HTTP_ALPN = b"http/1.1"  # RFC 7301 section 6: what a WebSocket begins with


cdef int on_alpn(SSL* ssl, const unsigned char** chosen, unsigned char* chosen_length, const unsigned char* offered, unsigned int length, void* http) noexcept:
    """Agrees on xmpp-client, or on http/1.1 where WebSockets are served (`http` is not NULL)."""
    cdef unsigned int i = 0, size
    cdef const unsigned char* found = NULL
    while i < length:
        size = offered[i]
        if i + 1 + size > length:
            break
        if size == 11 and memcmp(offered + i + 1, <const char*> ALPN, 11) == 0:
            chosen[0] = offered + i + 1
            chosen_length[0] = 11
            return SSL_TLSEXT_ERR_OK
        if http != NULL and size == 8 and memcmp(offered + i + 1, <const char*> HTTP_ALPN, 8) == 0:
            found = offered + i + 1
        i += 1 + size
    if found != NULL:
        chosen[0] = found
        chosen_length[0] = 8
        return SSL_TLSEXT_ERR_OK
    return SSL_TLSEXT_ERR_ALERT_FATAL   # RFC 7301 section 3.2: no_application_protocol


cdef int on_servername(SSL* ssl, int* alert, void* argument) noexcept:
    """Switches to the certificate for the name the client asked for; an unknown name keeps the first one (RFC 6066 section 3)."""
    cdef str name = asked_name(ssl)
    cdef TLSContext context
    if name is None or not name.isascii():
        return SSL_TLSEXT_ERR_NOACK
    context = (<CertificateChoice> argument).context_for(name.rstrip("."))
    if context is None:
        return SSL_TLSEXT_ERR_NOACK
    SSL_set_SSL_CTX(ssl, context.context)
    return SSL_TLSEXT_ERR_OK


cdef dict names = {}        # one string for all connections whose clients asked for the same name


cdef str asked_name(SSL* ssl):
    """The name the client asked for (SNI), in lower case, or None."""
    cdef const char* name = SSL_get_servername(ssl, TLSEXT_NAMETYPE_host_name)
    if name == NULL:
        return None
    return shared_name(name.decode("ascii", "replace").lower())


cdef str shared_name(str name):
    """The string that others with this name have."""
    if len(names) >= NAMES_LIMIT:
        names.clear()
    return names.setdefault(name, name)


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


cdef bytes end_point(X509* certificate):
    """`tls-server-end-point` (RFC 5929 section 4) of a certificate; None if its signature has no hash."""
    cdef unsigned char digest[64]
    cdef unsigned int length = 0
    cdef int hash_id = 0, key_id = 0
    cdef const EVP_MD* hash
    if certificate == NULL or OBJ_find_sigid_algs(X509_get_signature_nid(certificate), &hash_id, &key_id) != 1:
        return None
    hash = EVP_sha256() if hash_id == NID_md5 or hash_id == NID_sha1 else EVP_get_digestbynid(hash_id)
    if hash == NULL or X509_digest(certificate, hash, digest, &length) != 1:
        return None
    return PyBytes_FromStringAndSize(<const char*> digest, length)


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
        SSL_CTX_set_app_data(context, <void*> self)
        self.certificate_hash = end_point(SSL_CTX_get0_certificate(context))

    def __dealloc__(self):
        SSL_CTX_free(self.context)

    def serves(self, str name):
        """Whether this certificate is for `name` (lower case; RFC 6125 matching, or the names given in the configuration)."""
        if self.names:
            return name in self.names or "*." + name.partition(".")[2] in self.names
        encoded = name.encode("ascii")
        return X509_check_host(SSL_CTX_get0_certificate(self.context), <const char*> encoded, len(encoded), 0, NULL) == 1


cdef class CertificateChoice:
    """All certificates of a listener; the first is for clients without SNI or with a name nobody serves.

    After a TLS 1.3 handshake `record_layer` goes on: "own" or "openssl". `http` lets clients agree on http/1.1 by ALPN.
    """

    def __cinit__(self, contexts, *, str record_layer="own", bint http=False):
        cdef TLSContext context
        if record_layer not in ("own", "openssl"):
            raise ValueError(f"no record layer {record_layer!r}")
        self.own_records = record_layer == "own"
        self.contexts = list(contexts)
        if not self.contexts:
            raise ValueError("a choice needs a certificate")
        self.chosen = {}
        for context in self.contexts:
            SSL_CTX_set_tlsext_servername_callback(context.context, on_servername)
            SSL_CTX_set_tlsext_servername_arg(context.context, <void*> self)
            SSL_CTX_set_alpn_select_cb(context.context, on_alpn, <void*> context if http else NULL)
            if self.own_records:
                SSL_CTX_set_msg_callback(context.context, on_message)

    cdef TLSContext context_for(self, str name):
        if name in self.chosen:
            return self.chosen[name]
        found = next((context for context in self.contexts if context.serves(name)), None)
        if len(self.chosen) >= NAMES_LIMIT:
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
