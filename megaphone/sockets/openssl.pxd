# The part of OpenSSL 3.0 that handshakes use; what records use too is in megaphone/wire/libcrypto.pxd.
from megaphone.wire.libcrypto cimport (
    ERR_clear_error, EVP_CIPHER, EVP_CIPHER_CTX, EVP_CIPHER_fetch, OPENSSL_cleanse, OSSL_PARAM,
    OSSL_PARAM_construct_end, OSSL_PARAM_construct_octet_string, OSSL_PARAM_construct_utf8_string,
)

cdef extern from "openssl/bio.h":
    ctypedef struct BIO:
        pass
    ctypedef struct BIO_METHOD:
        pass
    int BIO_TYPE_SOURCE_SINK
    int BIO_CTRL_FLUSH
    BIO_METHOD* BIO_meth_new(int, const char*)
    int BIO_meth_set_write_ex(BIO_METHOD*, int (*)(BIO*, const char*, size_t, size_t*) noexcept)
    int BIO_meth_set_read_ex(BIO_METHOD*, int (*)(BIO*, char*, size_t, size_t*) noexcept)
    int BIO_meth_set_ctrl(BIO_METHOD*, long (*)(BIO*, int, long, void*) noexcept)
    BIO* BIO_new(const BIO_METHOD*)
    int BIO_up_ref(BIO*)
    void BIO_set_init(BIO*, int)
    void BIO_set_retry_read(BIO*)
    void BIO_set_retry_write(BIO*)
    void BIO_clear_retry_flags(BIO*)

cdef extern from "openssl/evp.h":
    ctypedef struct ENGINE:
        pass
    int EVP_EncryptInit_ex(EVP_CIPHER_CTX*, const EVP_CIPHER*, ENGINE*, const unsigned char*, const unsigned char*)
    int EVP_DecryptInit_ex(EVP_CIPHER_CTX*, const EVP_CIPHER*, ENGINE*, const unsigned char*, const unsigned char*)

cdef extern from "openssl/rand.h":
    int RAND_bytes(unsigned char*, int)

cdef extern from "openssl/evp.h":
    ctypedef struct EVP_MAC_CTX:
        pass
    ctypedef struct EVP_MD:
        pass
    int EVP_MAC_CTX_set_params(EVP_MAC_CTX*, const OSSL_PARAM*)
    const EVP_MD* EVP_get_digestbynid(int)
    const EVP_MD* EVP_sha256()
    const EVP_MD* EVP_sha384()
    int EVP_MD_get_size(const EVP_MD*)
    int EVP_Digest(const void*, size_t, unsigned char*, unsigned int*, const EVP_MD*, ENGINE*)

cdef extern from "openssl/hmac.h":
    unsigned char* HMAC(const EVP_MD*, const void*, int, const unsigned char*, size_t, unsigned char*, unsigned int*)

cdef extern from "openssl/objects.h":
    int NID_md5, NID_sha1
    int OBJ_find_sigid_algs(int, int*, int*)

cdef extern from "openssl/x509v3.h":
    ctypedef struct X509:
        pass
    ctypedef struct X509_VERIFY_PARAM:
        pass
    int X509_get_signature_nid(const X509*)
    int X509_digest(const X509*, const EVP_MD*, unsigned char*, unsigned int*)
    int X509_VERIFY_PARAM_set1_host(X509_VERIFY_PARAM*, const char*, size_t)
    int X509_VERIFY_PARAM_set1_ip_asc(X509_VERIFY_PARAM*, const char*)
    long X509_V_OK
    const char* X509_verify_cert_error_string(long)
    int X509_check_host(X509*, const char*, size_t, unsigned int, char**)

cdef extern from "openssl/err.h":
    unsigned long ERR_get_error()
    void ERR_error_string_n(unsigned long, char*, size_t)
    const char* ERR_reason_error_string(unsigned long)

cdef extern from "openssl/ssl.h":
    ctypedef struct SSL:
        pass
    ctypedef struct SSL_CTX:
        pass
    ctypedef struct SSL_METHOD:
        pass
    ctypedef struct SSL_CIPHER:
        pass
    int SSL_ERROR_NONE, SSL_ERROR_WANT_READ, SSL_ERROR_WANT_WRITE, SSL_ERROR_ZERO_RETURN
    int SSL_FILETYPE_PEM
    int TLS1_2_VERSION, TLS1_3_VERSION
    int SSL_TLSEXT_ERR_OK, SSL_TLSEXT_ERR_NOACK, SSL_TLSEXT_ERR_ALERT_FATAL
    int TLSEXT_NAMETYPE_host_name
    long SSL_SESS_CACHE_OFF
    long SSL_MODE_RELEASE_BUFFERS, SSL_MODE_ENABLE_PARTIAL_WRITE, SSL_MODE_ACCEPT_MOVING_WRITE_BUFFER
    unsigned long SSL_OP_NO_RENEGOTIATION, SSL_OP_NO_COMPRESSION, SSL_OP_CIPHER_SERVER_PREFERENCE
    unsigned long SSL_OP_PRIORITIZE_CHACHA, SSL_OP_NO_TICKET
    int SSL_VERIFY_PEER
    const SSL_METHOD* TLS_server_method()
    const SSL_METHOD* TLS_client_method()
    int SSL_CTX_load_verify_locations(SSL_CTX*, const char*, const char*)
    void SSL_CTX_set_verify(SSL_CTX*, int, void*)
    X509_VERIFY_PARAM* SSL_get0_param(SSL*)
    long SSL_get_verify_result(const SSL*)
    void SSL_set_connect_state(SSL*)
    int SSL_set_tlsext_host_name(SSL*, const char*)
    X509* SSL_get_certificate(const SSL*)
    long SSL_get_extms_support(SSL*)
    int SSL_export_keying_material(SSL*, unsigned char*, size_t, const char*, size_t, const unsigned char*, size_t, int)
    size_t SSL_get_finished(const SSL*, void*, size_t)
    size_t SSL_get_peer_finished(const SSL*, void*, size_t)
    SSL_CTX* SSL_CTX_new(const SSL_METHOD*)
    void SSL_CTX_free(SSL_CTX*)
    int SSL_CTX_use_certificate_chain_file(SSL_CTX*, const char*)
    int SSL_CTX_use_PrivateKey_file(SSL_CTX*, const char*, int)
    int SSL_CTX_check_private_key(SSL_CTX*)
    ctypedef struct X509_NAME_STACK "STACK_OF(X509_NAME)":
        pass
    int SSL_VERIFY_FAIL_IF_NO_PEER_CERT
    X509_NAME_STACK* SSL_load_client_CA_file(const char*)
    void SSL_CTX_set_client_CA_list(SSL_CTX*, X509_NAME_STACK*)
    X509* SSL_CTX_get0_certificate(SSL_CTX*)
    int SSL_CTX_set_min_proto_version(SSL_CTX*, int)
    int SSL_CTX_set_cipher_list(SSL_CTX*, const char*)
    int SSL_CTX_set1_groups_list(SSL_CTX*, const char*)
    unsigned long SSL_CTX_set_options(SSL_CTX*, unsigned long)
    long SSL_CTX_set_mode(SSL_CTX*, long)
    long SSL_CTX_set_session_cache_mode(SSL_CTX*, long)
    int SSL_CTX_set_session_id_context(SSL_CTX*, const unsigned char*, unsigned int)
    int SSL_CTX_set_num_tickets(SSL_CTX*, size_t)
    void SSL_CTX_set_alpn_select_cb(SSL_CTX*, int (*)(SSL*, const unsigned char**, unsigned char*, const unsigned char*, unsigned int, void*) noexcept, void*)
    long SSL_CTX_set_tlsext_servername_callback(SSL_CTX*, int (*)(SSL*, int*, void*) noexcept)
    long SSL_CTX_set_tlsext_servername_arg(SSL_CTX*, void*)
    int SSL_CTX_set_tlsext_ticket_key_evp_cb(SSL_CTX*, int (*)(SSL*, unsigned char*, unsigned char*, EVP_CIPHER_CTX*, EVP_MAC_CTX*, int) noexcept)
    int SSL3_RT_HANDSHAKE
    void SSL_CTX_set_msg_callback(SSL_CTX*, void (*)(int, int, int, const void*, size_t, SSL*, void*) noexcept)
    void SSL_CTX_set_keylog_callback(SSL_CTX*, void (*)(const SSL*, const char*) noexcept)
    int SSL_CTX_set_app_data(SSL_CTX*, void*)
    void* SSL_CTX_get_app_data(const SSL_CTX*)
    SSL* SSL_new(SSL_CTX*)
    void SSL_free(SSL*)
    void SSL_set_bio(SSL*, BIO*, BIO*)
    void SSL_set_accept_state(SSL*)
    SSL_CTX* SSL_set_SSL_CTX(SSL*, SSL_CTX*)
    SSL_CTX* SSL_get_SSL_CTX(const SSL*)
    int SSL_has_pending(const SSL*)
    int SSL_do_handshake(SSL*)
    int SSL_read(SSL*, void*, int)
    int SSL_write(SSL*, const void*, int)
    int SSL_shutdown(SSL*)
    int SSL_get_error(const SSL*, int)
    int SSL_version(const SSL*)
    const char* SSL_get_version(const SSL*)
    const SSL_CIPHER* SSL_get_current_cipher(const SSL*)
    const char* SSL_CIPHER_get_name(const SSL_CIPHER*)
    unsigned short SSL_CIPHER_get_protocol_id(const SSL_CIPHER*)
    const char* SSL_get_servername(const SSL*, int)
    void SSL_get0_alpn_selected(const SSL*, const unsigned char**, unsigned int*)
    int SSL_session_reused(const SSL*)
