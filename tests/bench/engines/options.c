/* What OpenSSL keeps per idle server connection, by option. A child is the client; all connections use one socket pair in
   turn, and stay idle after one echoed stanza. Prints the bytes in use on the heap per connection.

   Usage: options CHAIN KEY [bio=shared|memory] [release=0] [tls=1.2] [group=LIST] [suite=NAME] [tickets=N] */
#define _GNU_SOURCE
#include <malloc.h>
#include <openssl/ssl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <unistd.h>

enum { WARM_UP = 200, CONNECTIONS = 2000, STANZA_BYTES = 200 };

static const char *option(int count, char **arguments, const char *name, const char *otherwise) {
    size_t length = strlen(name);
    for (int i = 3; i < count; i++)
        if (strncmp(arguments[i], name, length) == 0 && arguments[i][length] == '=') return arguments[i] + length + 1;
    return otherwise;
}

static void check(int right, const char *what) {
    if (right) return;
    fprintf(stderr, "options: %s failed\n", what);
    exit(1);
}

/* --- the shared BIO: reads from one buffer, writes into another --- */

static char input[65536], output[65536];
static int input_length, input_offset, output_length;

static int bio_read(BIO *bio, char *into, int length) {
    BIO_clear_retry_flags(bio);
    if (input_offset == input_length) {
        BIO_set_retry_read(bio);
        return -1;
    }
    if (length > input_length - input_offset) length = input_length - input_offset;
    memcpy(into, input + input_offset, length);
    input_offset += length;
    return length;
}

static int bio_write(BIO *bio, const char *data, int length) {
    BIO_clear_retry_flags(bio);
    check(output_length + length <= (int)sizeof output, "write");
    memcpy(output + output_length, data, length);
    output_length += length;
    return length;
}

static long bio_ctrl(BIO *bio, int command, long number, void *pointer) {
    (void)bio, (void)number, (void)pointer;
    return command == BIO_CTRL_FLUSH;
}

static BIO *make_shared_bio(void) {
    BIO_METHOD *method = BIO_meth_new(BIO_TYPE_SOURCE_SINK | 126, "shared");
    BIO_meth_set_read(method, bio_read);
    BIO_meth_set_write(method, bio_write);
    BIO_meth_set_ctrl(method, bio_ctrl);
    BIO *bio = BIO_new(method);
    BIO_set_init(bio, 1);
    return bio;
}

/* --- the two sides --- */

static void run_client(int fd, int count, char **arguments) {
    SSL_CTX *context = SSL_CTX_new(TLS_client_method());
    if (strcmp(option(count, arguments, "tls", "1.3"), "1.2") == 0) SSL_CTX_set_max_proto_version(context, TLS1_2_VERSION);
    SSL_CTX_set1_groups_list(context, option(count, arguments, "group", "X25519:P-256"));
    SSL_CTX_set_alpn_protos(context, (const unsigned char *)"\x0bxmpp-client", 12);
    for (;;) {
        char stanza[STANZA_BYTES] = "<";
        SSL *ssl = SSL_new(context);
        SSL_set_fd(ssl, fd);
        SSL_set_tlsext_host_name(ssl, "bench.example");
        if (SSL_connect(ssl) != 1) exit(0); /* the parent has ended */
        SSL_write(ssl, stanza, sizeof stanza);
        for (int got = 0, more; got < STANZA_BYTES; got += more)
            if ((more = SSL_read(ssl, stanza, sizeof stanza)) <= 0) exit(0);
        SSL_free(ssl);
    }
}

static int choose_alpn(SSL *ssl, const unsigned char **out, unsigned char *size, const unsigned char *in, unsigned length, void *unused) {
    (void)ssl, (void)unused;
    int found = SSL_select_next_proto((unsigned char **)out, size, (const unsigned char *)"\x0bxmpp-client", 12, in, length);
    return found == OPENSSL_NPN_NEGOTIATED ? SSL_TLSEXT_ERR_OK : SSL_TLSEXT_ERR_NOACK;
}

static void serve_one(SSL_CTX *context, int fd, BIO *shared) {
    char stanza[STANZA_BYTES];
    int got = 0, more;
    SSL *ssl = SSL_new(context);
    if (shared != NULL) {
        BIO_up_ref(shared);
        SSL_set_bio(ssl, shared, shared);
    } else {
        SSL_set_bio(ssl, BIO_new(BIO_s_mem()), BIO_new(BIO_s_mem()));
    }
    SSL_set_accept_state(ssl);
    while (got < STANZA_BYTES) {
        input_length = read(fd, input, sizeof input);
        input_offset = 0;
        check(input_length > 0, "read");
        if (shared == NULL) BIO_write(SSL_get_rbio(ssl), input, input_length);
        while ((more = SSL_read(ssl, stanza, sizeof stanza)) > 0) got += more;
        check(SSL_get_error(ssl, more) == SSL_ERROR_WANT_READ, "handshake");
        if (got == STANZA_BYTES) SSL_write(ssl, stanza, sizeof stanza);
        if (shared == NULL && (more = BIO_read(SSL_get_wbio(ssl), output, sizeof output)) > 0) output_length = more;
        check(write(fd, output, output_length) == output_length, "write");
        output_length = 0;
    }
}

int main(int count, char **arguments) {
    int pair[2];
    check(count >= 3 && socketpair(AF_UNIX, SOCK_STREAM, 0, pair) == 0, "usage: options CHAIN KEY [name=value ...]");
    if (fork() == 0) {
        prctl(PR_SET_PDEATHSIG, SIGKILL);
        close(pair[0]);
        run_client(pair[1], count, arguments);
    }
    close(pair[1]);
    SSL_CTX *context = SSL_CTX_new(TLS_server_method());
    check(SSL_CTX_use_certificate_chain_file(context, arguments[1]) == 1, "certificate");
    check(SSL_CTX_use_PrivateKey_file(context, arguments[2], SSL_FILETYPE_PEM) == 1, "key");
    SSL_CTX_set_options(context, SSL_OP_CIPHER_SERVER_PREFERENCE);
    SSL_CTX_set_session_cache_mode(context, SSL_SESS_CACHE_OFF);
    SSL_CTX_set_alpn_select_cb(context, choose_alpn, NULL);
    SSL_CTX_set_num_tickets(context, atoi(option(count, arguments, "tickets", "2")));
    if (atoi(option(count, arguments, "release", "1"))) SSL_CTX_set_mode(context, SSL_MODE_RELEASE_BUFFERS);
    const char *suite = option(count, arguments, "suite", "");
    if (*suite) check(SSL_CTX_set_ciphersuites(context, suite) == 1, "cipher suite");
    BIO *shared = strcmp(option(count, arguments, "bio", "shared"), "shared") == 0 ? make_shared_bio() : NULL;
    for (int i = 0; i < WARM_UP; i++) serve_one(context, pair[0], shared);
    size_t before = mallinfo2().uordblks;
    for (int i = 0; i < CONNECTIONS; i++) serve_one(context, pair[0], shared);
    printf("%zu\n", (mallinfo2().uordblks - before) / CONNECTIONS);
    return 0;
}
