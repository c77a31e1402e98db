/* TLS of sessions that have it: OpenSSL on the socket, keeping no buffers while nothing is under way. */
#include "swarm.h"

#include <errno.h>
#include <openssl/err.h>
#include <openssl/x509v3.h>
#include <stdio.h>
#include <string.h>

static const char *reason(void) {
    const char *said = ERR_reason_error_string(ERR_peek_last_error());
    return said != NULL ? said : "unknown";
}

const char *tls_configure(struct swarm *swarm, const char *authorities, bool verify) {
    static const unsigned char protocol[] = "\x0bxmpp-client"; /* XEP-0368 */
    SSL_CTX *tls = swarm->tls = SSL_CTX_new(TLS_client_method());
    if (tls == NULL) return reason();
    SSL_CTX_set_min_proto_version(tls, TLS1_2_VERSION);
    SSL_CTX_set_mode(tls,
                     SSL_MODE_RELEASE_BUFFERS | SSL_MODE_ENABLE_PARTIAL_WRITE | SSL_MODE_ACCEPT_MOVING_WRITE_BUFFER);
    SSL_CTX_set_options(tls, SSL_OP_IGNORE_UNEXPECTED_EOF);
    SSL_CTX_set_session_cache_mode(tls, SSL_SESS_CACHE_OFF);
    records_listen(tls);
    if (swarm->security == DIRECT_TLS) SSL_CTX_set_alpn_protos(tls, protocol, sizeof protocol - 1);
    if (!verify) return NULL;
    SSL_CTX_set_verify(tls, SSL_VERIFY_PEER, NULL);
    int loaded = authorities == NULL ? SSL_CTX_set_default_verify_paths(tls)
                                     : SSL_CTX_load_verify_locations(tls, authorities, NULL);
    return loaded == 1 ? NULL : reason();
}

static SSL *begin(struct swarm *swarm, struct session *session) {
    SSL *ssl = SSL_new(swarm->tls);
    if (ssl == NULL) return NULL;
    SSL_set_fd(ssl, session->fd);
    SSL_set_tlsext_host_name(ssl, swarm->domain);
    SSL_set1_host(ssl, swarm->domain);
    SSL_set_connect_state(ssl);
    return ssl;
}

static void find_reason(SSL *ssl, int error, char *why, int size) {
    long verified = SSL_get_verify_result(ssl);
    bool refused = verified != X509_V_OK && SSL_get_verify_mode(ssl) != SSL_VERIFY_NONE;
    if (refused)
        snprintf(why, size, "%s", X509_verify_cert_error_string(verified));
    else if (error == SSL_ERROR_SSL)
        snprintf(why, size, "%s", reason());
    else
        snprintf(why, size, "%s", errno != 0 ? strerrorname_np(errno) : "closed");
}

int tls_handshake(struct swarm *swarm, struct session *session, char *why, int size) {
    if (session->ssl == NULL) session->ssl = begin(swarm, session);
    if (session->ssl == NULL) {
        snprintf(why, size, "ENOMEM");
        return -1;
    }
    ERR_clear_error();
    errno = 0;
    int result = SSL_do_handshake(session->ssl);
    if (result == 1) {
        records_take_over(session);
        return 1;
    }
    int error = SSL_get_error(session->ssl, result);
    if (error == SSL_ERROR_WANT_READ || error == SSL_ERROR_WANT_WRITE) return 0;
    find_reason(session->ssl, error, why, size);
    return -1;
}

int tls_read(SSL *ssl, char *into, int size) {
    ERR_clear_error();
    errno = 0;
    int length = SSL_read(ssl, into, size);
    if (length > 0) return length;
    int error = SSL_get_error(ssl, length);
    if (error == SSL_ERROR_WANT_READ || error == SSL_ERROR_WANT_WRITE) return 0;
    if (error == SSL_ERROR_SSL) errno = EPROTO;
    return -1;
}

int tls_write(SSL *ssl, const char *data, size_t length) {
    ERR_clear_error();
    int taken = SSL_write(ssl, data, length);
    if (taken > 0) return taken;
    int error = SSL_get_error(ssl, taken);
    return error == SSL_ERROR_WANT_WRITE || error == SSL_ERROR_WANT_READ ? 0 : -1;
}
