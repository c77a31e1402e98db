/* The bytes of one connection, plain or TLS: connect, handshake, read, write. Everything is non-blocking. */
#pragma once

#include "xmpp.h"

#include <netinet/in.h>
#include <netinet/tcp.h>
#include <openssl/err.h>
#include <openssl/ssl.h>
#include <sys/socket.h>
#include <unistd.h>

static const char *server_name = "bench.example";
static SSL_CTX *tls_context; /* NULL: plain */
static SSL_SESSION *ticket;  /* the newest session ticket the server gave */
static int resume;           /* present the ticket */
static long resumed;         /* handshakes that were shortened by it */
static char tls_facts[128];  /* version, cipher and group of the last handshake */

static int keep_ticket(SSL *ssl, SSL_SESSION *session) {
    (void)ssl;
    SSL_SESSION_free(ticket);
    ticket = session;
    return 1;
}

/* `version` is "1.2" or "1.3". Certificates are not verified: that is the client's work, not the relay's. */
static void tls_configure(const char *version) {
    int number = strcmp(version, "1.2") == 0 ? TLS1_2_VERSION : TLS1_3_VERSION;
    tls_context = SSL_CTX_new(TLS_client_method());
    SSL_CTX_set_min_proto_version(tls_context, number);
    SSL_CTX_set_max_proto_version(tls_context, number);
    SSL_CTX_set1_groups_list(tls_context, "X25519:P-256");
    SSL_CTX_set_alpn_protos(tls_context, (const unsigned char *)"\x0bxmpp-client", 12);
    SSL_CTX_set_mode(tls_context, SSL_MODE_RELEASE_BUFFERS);
    SSL_CTX_set_session_cache_mode(tls_context, SSL_SESS_CACHE_CLIENT | SSL_SESS_CACHE_NO_INTERNAL);
    SSL_CTX_sess_set_new_cb(tls_context, keep_ticket);
}

static SSL *tls_begin(int fd) {
    SSL *ssl = SSL_new(tls_context);
    SSL_set_fd(ssl, fd);
    SSL_set_tlsext_host_name(ssl, server_name);
    if (resume && ticket != NULL) {
        SSL_SESSION *copy = SSL_SESSION_dup(ticket); /* OpenSSL spoils a TLS 1.3 session that was used once */
        SSL_set_session(ssl, copy);
        SSL_SESSION_free(copy);
    }
    SSL_set_connect_state(ssl);
    return ssl;
}

static void tls_note(SSL *ssl) {
    const char *group = OBJ_nid2sn(SSL_get_negotiated_group(ssl));
    snprintf(tls_facts, sizeof tls_facts, "%s %s %s", SSL_get_version(ssl), SSL_get_cipher_name(ssl), group);
    resumed += SSL_session_reused(ssl);
}

/* 1: done; 0: wants to read more; -1: failed. */
static int tls_handshake(SSL *ssl) {
    int result = SSL_do_handshake(ssl);
    if (result == 1) {
        tls_note(ssl);
        return 1;
    }
    if (SSL_get_error(ssl, result) == SSL_ERROR_WANT_READ) return 0;
    ERR_print_errors_fp(stderr);
    return -1;
}

static int tcp_connect(const struct sockaddr_in *address) {
    int one = 1, fd = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK, 0);
    if (fd < 0) die("socket");
    setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof one);
    if (connect(fd, (const struct sockaddr *)address, sizeof *address) != 0 && errno != EINPROGRESS) die("connect");
    return fd;
}

/* More than 0: bytes; 0: nothing now; -1: the connection has ended. */
static int transport_read(int fd, SSL *ssl, char *into, int size) {
    int length = ssl == NULL ? (int)recv(fd, into, size, 0) : SSL_read(ssl, into, size);
    if (length > 0) return length;
    if (ssl == NULL ? length < 0 && errno == EAGAIN : SSL_get_error(ssl, length) == SSL_ERROR_WANT_READ) return 0;
    return -1;
}

/* Whether all was taken: what clients say is short, so it is unless the connection has ended or nobody reads. */
static int transport_write(int fd, SSL *ssl, const char *data, int length) {
    return length == (ssl == NULL ? (int)send(fd, data, length, MSG_NOSIGNAL) : SSL_write(ssl, data, length));
}

static void transport_close(int fd, SSL *ssl) {
    if (ssl != NULL) {
        SSL_shutdown(ssl);
        SSL_free(ssl);
    }
    close(fd);
}
