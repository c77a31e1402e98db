"""TLS of one connection: OpenSSL for the handshake, then records of our own, which are a few hundred bytes.

Theory of operation. The SSL object is needed to shake hands. What is needed after a TLS 1.3 handshake is two secrets and two
sequence numbers, so the server's side goes on without it:

    feed() ─► handshake() ─┬─ TLS 1.3 ─► secrets of the key log, tickets counted, facts kept ─► SSL_free ─► Records
                           └─ TLS 1.2, the client's side, record_layer = "openssl" ─► the SSL object stays to the end

    feed(ciphertext) ─► read() ─► plaintext          plaintext ─► write() ─► tls_output()

Either way a connection holds no bytes between two calls but an incomplete record: input and output are shared by all
(tls_bio.pyx). What has come behind the client's Finished is still in the input, where the records go on reading.

The module is for one thread, as a worker is. Why: docs/explanation/decisions/0002-tls-engine.md and 0008-tls-records.md.
"""

cimport cython
from cpython.bytes cimport PyBytes_FromStringAndSize
from libc.stdint cimport uint64_t
from libc.string cimport memcpy

from megaphone.sockets.openssl cimport *
from megaphone.sockets.tls_bio cimport shared_bio, tls_input, tls_output
from megaphone.sockets.tls_contexts cimport ALPN, CertificateChoice, ClientContext, TLSContext, asked_name, end_point, shared_name
from megaphone.sockets.tls_secrets cimport (
    BINDING_BYTES, count_records, derive_binding, export_binding, forget_traffic, secrets_free, secrets_new, shake_hands,
)
from megaphone.wire.tls_keys cimport is_suite, suite_name
from megaphone.wire.tls_records cimport (
    BROKEN, EXPORT_LIMIT, PEER_CLOSED, records_close, records_export, records_free, records_import, records_new, records_open, records_seal,
)

cdef enum:
    FINISHED_BYTES = 64
    RECORD_BYTES = 16384        # plaintext in one record (RFC 8446 section 5.1)
    # an export: | version, 1 | flags, 1 | length of name, 1 | of exporter, 1 | of hash, 1 | name | exporter | hash | records |
    STATE_VERSION = 1
    STATE_HEAD_BYTES = 5
    STATE_RESUMED = 1
    STATE_ALPN = 2
    STATE_SENT_CLOSE = 4
    STATE_ALPN_HTTP = 8


@cython.no_gc
cdef class TLS:
    """One TLS connection: the server side for a CertificateChoice, the client side for a ClientContext."""

    def __init__(self, context not None):
        cdef CertificateChoice choice
        cdef ClientContext client
        cdef BIO* bio = shared_bio()
        if isinstance(context, CertificateChoice):
            choice = context
            self.ssl = SSL_new((<TLSContext> choice.contexts[0]).context)
        else:
            client = context
            self.ssl = SSL_new(client.context)
        if self.ssl == NULL:
            raise MemoryError
        self.context = context
        SSL_set_bio(self.ssl, bio, bio)
        if isinstance(context, CertificateChoice):
            SSL_set_accept_state(self.ssl)
            if choice.own_records:
                self.secrets = secrets_new()
            return
        SSL_set_connect_state(self.ssl)
        if client.is_address:       # which is no server name (RFC 6066 section 3)
            X509_VERIFY_PARAM_set1_ip_asc(SSL_get0_param(self.ssl), <const char*> client.server_name)
        else:
            X509_VERIFY_PARAM_set1_host(SSL_get0_param(self.ssl), <const char*> client.server_name, 0)
            SSL_set_tlsext_host_name(self.ssl, <const char*> client.server_name)

    def __dealloc__(self):
        SSL_free(self.ssl)
        records_free(self.records)
        secrets_free(self.secrets)

    cdef void feed(self, const uint8_t* data, size_t length) noexcept:
        """The ciphertext that the next calls read; it must stay valid until they have returned 0 (all taken)."""
        tls_input().data = data
        tls_input().length = length

    # --- handshake ---

    cdef int handshake(self) noexcept:
        cdef int result, error
        cdef size_t before = tls_output().length
        ERR_clear_error()
        result = shake_hands(self.ssl, self.secrets)
        if result == 1:
            self.established = True
            if self.secrets != NULL:
                self.take_over(before)
            return DONE
        error = SSL_get_error(self.ssl, result)
        if error == SSL_ERROR_WANT_READ or error == SSL_ERROR_WANT_WRITE:
            return UNDER_WAY
        tls_input().length = 0      # what is left is nobody's: the next handshake may begin without any input
        return FAILED

    cdef void take_over(self, size_t before):
        """Goes on with records of our own, if it can: then all that the handshake's last step has said are tickets."""
        cdef Secrets* secrets = self.secrets
        cdef uint64_t said
        cdef unsigned int suite = SSL_CIPHER_get_protocol_id(SSL_get_current_cipher(self.ssl))
        if (SSL_version(self.ssl) == TLS1_3_VERSION and is_suite(suite) and secrets.incoming.length and secrets.outgoing.length
                and SSL_has_pending(self.ssl) == 0
                and count_records(tls_output().data + before, tls_output().length - before, &said)):
            self.keep_facts()
            self.records = records_new(suite, secrets.incoming.bytes, secrets.outgoing.bytes, 0, said, False)
        forget_traffic(secrets)
        if self.records == NULL:
            secrets_free(secrets)
            self.secrets = NULL
            return
        SSL_free(self.ssl)
        self.ssl = NULL
        self.context = None

    cdef void keep_facts(self):
        """What will be asked when there is no SSL object any more."""
        cdef const unsigned char* data
        cdef unsigned int length
        cdef void* context = SSL_CTX_get_app_data(SSL_get_SSL_CTX(self.ssl))
        SSL_get0_alpn_selected(self.ssl, &data, &length)
        self.has_alpn = 0 if length == 0 else 1 if length == len(ALPN) else 2
        self.was_resumed = SSL_session_reused(self.ssl) == 1
        self.name = asked_name(self.ssl)
        self.end_point = (<TLSContext> context).certificate_hash

    # --- data ---

    cdef Py_ssize_t read(self, uint8_t* into, size_t length) noexcept:
        """Bytes of plaintext; 0: wants more ciphertext; PEER_CLOSED; BROKEN, with the alert in the output."""
        cdef int result, error
        cdef Py_ssize_t size
        if self.records != NULL:
            size = records_open(self.records, tls_input(), into, length)
            if size == BROKEN:
                self.close()
            return size
        ERR_clear_error()
        result = SSL_read(self.ssl, into, <int> length)
        if result > 0:
            return result
        error = SSL_get_error(self.ssl, result)
        if error == SSL_ERROR_WANT_READ or error == SSL_ERROR_WANT_WRITE:
            return 0
        tls_input().length = 0
        if error == SSL_ERROR_ZERO_RETURN:
            return PEER_CLOSED
        self.sent_close = True      # an alert says it all
        return BROKEN

    cdef Py_ssize_t write(self, const iovec* regions, int count) noexcept:
        """Puts one record of the regions' first bytes into the output; how many it took; 0: the output is full; BROKEN."""
        cdef int result, error
        cdef size_t length
        if self.records != NULL:
            return records_seal(self.records, regions, count, tls_output())
        ERR_clear_error()
        length = regions[0].iov_len
        result = SSL_write(self.ssl, regions[0].iov_base, <int> (RECORD_BYTES if length > RECORD_BYTES else length))
        if result > 0:
            return result
        error = SSL_get_error(self.ssl, result)
        return 0 if error == SSL_ERROR_WANT_READ or error == SSL_ERROR_WANT_WRITE else BROKEN

    cdef void close(self) noexcept:
        """Puts close_notify into the output, or the alert that says what the peer did wrong; once (RFC 8446 section 6)."""
        if not self.established or self.sent_close:
            return
        self.sent_close = True
        if self.records != NULL:
            records_close(self.records, tls_output())
            return
        ERR_clear_error()
        SSL_shutdown(self.ssl)

    # --- facts ---

    @property
    def version(self):
        """"TLSv1.2" or "TLSv1.3"."""
        return "TLSv1.3" if self.records != NULL else SSL_get_version(self.ssl).decode("ascii")

    @property
    def cipher(self):
        """OpenSSL's name of the cipher suite."""
        if self.records != NULL:
            return suite_name(self.records.suite).decode("ascii")
        return SSL_CIPHER_get_name(SSL_get_current_cipher(self.ssl)).decode("ascii")

    @property
    def server_name(self):
        """The name the client asked for (SNI), or None."""
        return self.name if self.records != NULL else asked_name(self.ssl)

    @property
    def alpn(self):
        """The application protocol chosen, or b""."""
        cdef const unsigned char* data
        cdef unsigned int length
        if self.records != NULL:
            return (b"", ALPN, b"http/1.1")[self.has_alpn]
        SSL_get0_alpn_selected(self.ssl, &data, &length)
        return PyBytes_FromStringAndSize(<const char*> data, length) if length else b""

    @property
    def resumed(self):
        """Whether a session ticket saved the full handshake."""
        return (self.was_resumed if self.records != NULL else SSL_session_reused(self.ssl)) == 1

    @property
    def record_layer(self):
        """What encrypts and decrypts: "own" or "openssl"."""
        return "own" if self.records != NULL else "openssl"

    @property
    def peer_refusal(self):
        """Why the peer's certificate was not accepted, or ""."""
        cdef long result = X509_V_OK if self.records != NULL else SSL_get_verify_result(self.ssl)
        return "" if result == X509_V_OK else X509_verify_cert_error_string(result).decode("ascii", "replace")

    # --- channel binding ---

    @property
    def exporter(self):
        """`tls-exporter` (RFC 9266), 32 bytes; None where it would not be unique: TLS 1.2 without RFC 7627.

        None also when it has been forgotten: it is kept until the client is authenticated.
        """
        cdef uint8_t material[BINDING_BYTES]
        if self.records != NULL:
            if self.secrets == NULL or not derive_binding(self.secrets):
                return None
            return PyBytes_FromStringAndSize(<const char*> self.secrets.binding, BINDING_BYTES)
        if not self.established or not self.is_unique() or not export_binding(self.ssl, material):
            return None
        return PyBytes_FromStringAndSize(<const char*> material, BINDING_BYTES)

    @property
    def unique(self):
        """`tls-unique` (RFC 5929 section 3) of a server: the first Finished of the handshake; None for TLS 1.3."""
        cdef uint8_t finished[FINISHED_BYTES]
        cdef size_t length
        if self.records != NULL or not self.established or SSL_version(self.ssl) >= TLS1_3_VERSION or not self.is_unique():
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
        """`tls-server-end-point` (RFC 5929 section 4) of our certificate; None if its signature has no hash, or if forgotten."""
        return self.end_point if self.records != NULL else end_point(SSL_get_certificate(self.ssl))

    cdef void forget_bindings(self) noexcept:
        """The client is authenticated: nobody will ask for channel-binding data again."""
        if self.records != NULL:
            secrets_free(self.secrets)
            self.secrets = NULL
            self.end_point = None

    # --- another process ---

    cdef uint32_t changes(self) noexcept:
        """Another number whenever `export_state` would return something else (it wraps around); 0 where that is None."""
        return 0 if self.records == NULL else self.records.changes

    def export_state(self):
        """All that another process needs to go on, as secret as keys are; None if OpenSSL has it, so that it cannot move.

        This connection goes on until it is closed; who gives it away must not use it any more, and writes the state nowhere.
        """
        cdef uint8_t records[EXPORT_LIMIT]
        cdef size_t length
        cdef bytes name = (self.name or "").encode("ascii", "replace"), exporter = self.exporter or b"", hash = self.end_point or b""
        cdef int flags
        if self.records == NULL:
            return None
        flags = ((STATE_RESUMED if self.was_resumed else 0) | (STATE_ALPN if self.has_alpn == 1 else STATE_ALPN_HTTP if self.has_alpn else 0)
                 | (STATE_SENT_CLOSE if self.sent_close else 0))
        length = records_export(self.records, records, EXPORT_LIMIT)
        state = bytes((STATE_VERSION, flags, len(name), len(exporter), len(hash))) + name + exporter + hash
        state += PyBytes_FromStringAndSize(<const char*> records, length)
        OPENSSL_cleanse(records, length)
        return state

    @staticmethod
    def restore(bytes state not None):
        """The connection that another process has exported; ValueError if it is none that this version knows."""
        cdef TLS tls = TLS.__new__(TLS)
        cdef const uint8_t* data = <const uint8_t*> (<const char*> state)
        cdef size_t length = len(state), names, hashes, begin
        if length < STATE_HEAD_BYTES or data[0] != STATE_VERSION:
            raise ValueError("TLS state of another version")
        names, hashes = data[2], data[4]
        begin = STATE_HEAD_BYTES + names + data[3] + hashes
        if length < begin or data[3] not in (0, BINDING_BYTES):
            raise ValueError("TLS state that is cut off")
        tls.records = records_import(data + begin, length - begin)
        if tls.records == NULL:
            raise ValueError("TLS records of another version")
        tls.established = True
        tls.was_resumed = data[1] & STATE_RESUMED != 0
        tls.has_alpn = 1 if data[1] & STATE_ALPN else 2 if data[1] & STATE_ALPN_HTTP else 0
        tls.sent_close = data[1] & STATE_SENT_CLOSE != 0
        begin = STATE_HEAD_BYTES
        if names:
            tls.name = shared_name(state[begin:begin + names].decode("ascii", "replace"))
        begin += names
        if data[3]:
            tls.secrets = secrets_new()
            if tls.secrets == NULL:
                raise MemoryError
            memcpy(tls.secrets.binding, data + begin, BINDING_BYTES)
            tls.secrets.bound = True
        begin += data[3]
        if hashes:
            tls.end_point = state[begin:begin + hashes]
        return tls


def tls_bytes():
    """The bytes that an idle TLS 1.3 connection keeps in records of our own."""
    return TLS.__basicsize__ + sizeof(Records)
