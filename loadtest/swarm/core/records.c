/* Sessions that go on with TLS 1.3 records alone: the secrets, and bytes through the record layer. */
#include "records.h"

#include "swarm.h"

#include <errno.h>
#include <openssl/crypto.h>
#include <stdlib.h>
#include <string.h>

enum { SECRET_BYTES = 48, CLOSE_BYTES = 64 };

struct record_layer record_layer;

/* The secrets of the handshake under way, of which OpenSSL tells in its step (SSL_CTX_set_keylog_callback(3)). */
static struct {
    const SSL *ssl;
    uint8_t server[SECRET_BYTES], client[SECRET_BYTES];
    bool server_known, client_known;
} heard;

/* What one recv has brought, and what one send takes. */
static uint8_t received[READ_BYTES - RECORDS_OPEN_ROOM], sealed[RECORDS_SEAL_ROOM];

/* --- the secrets --- */

static bool take_secret(const char *line, const char *label, uint8_t *into) {
    size_t length = strlen(label);
    if (strncmp(line, label, length) != 0 || line[length] != ' ') return false;
    const char *digits = strchr(line + length + 1, ' '); /* behind the client's random */
    if (digits == NULL) return false;
    size_t written;
    return OPENSSL_hexstr2buf_ex(into, SECRET_BYTES, &written, digits + 1, '\0') == 1;
}

static void on_secret(const SSL *ssl, const char *line) {
    if (heard.ssl != ssl) heard.ssl = ssl, heard.server_known = heard.client_known = false;
    heard.server_known |= take_secret(line, "SERVER_TRAFFIC_SECRET_0", heard.server);
    heard.client_known |= take_secret(line, "CLIENT_TRAFFIC_SECRET_0", heard.client);
}

void records_listen(SSL_CTX *tls) {
    if (record_layer.begin != NULL) SSL_CTX_set_keylog_callback(tls, on_secret);
}

/* Both come in the step that ends a client's handshake. OpenSSL has read to the end of a record and not further, and
   written its last word. A slow session stays: it reads less than a record at a time. */
void records_take_over(struct session *session) {
    SSL *ssl = session->ssl;
    if (record_layer.begin == NULL || session->behaviour == SLOW || SSL_version(ssl) != TLS1_3_VERSION) return;
    if (heard.ssl == ssl && heard.server_known && heard.client_known && !SSL_has_pending(ssl))
        session->records =
            record_layer.begin(SSL_CIPHER_get_protocol_id(SSL_get_current_cipher(ssl)), heard.server, heard.client);
    OPENSSL_cleanse(&heard, sizeof heard);
    if (session->records == NULL) return;
    SSL_free(ssl);
    session->ssl = NULL;
}

/* --- bytes --- */

int records_read(struct session *session, char *into, int size) {
    const uint8_t *at = NULL;
    size_t rest = 0;
    while (true) { /* first what there is to say without more: how it has ended */
        ssize_t opened = record_layer.open(session->records, &at, &rest, (uint8_t *)into, size);
        if (opened > 0) return opened;
        if (opened < 0) {
            errno = opened == RECORDS_CLOSED ? 0 : EPROTO;
            return -1;
        }
        ssize_t length = recv(session->fd, received, sizeof received, 0);
        if (length < 0) return errno == EAGAIN || errno == EINTR ? 0 : -1;
        if (length == 0) {
            errno = 0;
            return -1;
        }
        at = received;
        rest = length;
    }
}

/* Sends, or keeps what the socket does not take. */
static bool send_or_keep(struct session *session, const uint8_t *data, size_t length) {
    if (session->output == NULL) {
        ssize_t taken = send(session->fd, data, length, MSG_NOSIGNAL);
        if (taken < 0 && errno != EAGAIN && errno != EINTR) return false;
        if (taken > 0) data += taken, length -= taken;
    }
    return length == 0 || bytes_append(&session->output, (const char *)data, length);
}

bool records_write(struct session *session, const char *data, size_t length) {
    while (length > 0) {
        size_t written = 0;
        ssize_t taken = record_layer.seal(session->records, data, length, sealed, sizeof sealed, &written);
        if (taken <= 0 || !send_or_keep(session, sealed, written)) {
            shutdown(session->fd, SHUT_RDWR); /* a record that is said in part, or missing, cannot be made good */
            return false;
        }
        data += taken;
        length -= taken;
    }
    return true;
}

void records_end(struct session *session, bool in_order) {
    uint8_t word[CLOSE_BYTES];
    size_t length = record_layer.close(session->records, word, sizeof word);
    if (in_order && length > 0 && session->output == NULL) send(session->fd, word, length, MSG_NOSIGNAL);
    record_layer.end(session->records);
    session->records = NULL;
}
