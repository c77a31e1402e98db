/* One socket of a session: connecting from an address of the pool, reading and writing without blocking. */
#include "swarm.h"

#include <errno.h>
#include <netinet/tcp.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <unistd.h>

#ifndef IP_BIND_ADDRESS_NO_PORT
#define IP_BIND_ADDRESS_NO_PORT 24
#endif

enum { SLOW_RECEIVE_BUFFER = 4096, FIRST_ROOM = 256 };

static socklen_t size_of(const struct sockaddr_storage *address) {
    return address->ss_family == AF_INET6 ? sizeof(struct sockaddr_in6) : sizeof(struct sockaddr_in);
}

static int failed(int fd) {
    int error = errno;
    close(fd);
    errno = error;
    return -1;
}

/* A socket that connects to the next server from the next source address, or -1. */
static int connect_from_next(struct swarm *swarm, const struct session *session) {
    const struct sockaddr_storage *server = &swarm->servers[swarm->next_server++ % swarm->server_count];
    int one = 1, small = SLOW_RECEIVE_BUFFER,
        fd = socket(server->ss_family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    if (fd < 0) return -1;
    setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof one);
    if (session->behaviour == SLOW) setsockopt(fd, SOL_SOCKET, SO_RCVBUF, &small, sizeof small);
    if (swarm->source_count > 0) {
        const struct sockaddr_storage *source = &swarm->sources[swarm->next_source++ % swarm->source_count];
        /* The port is chosen by connect: all ports serve again for each server (ip(7)). */
        setsockopt(fd, IPPROTO_IP, IP_BIND_ADDRESS_NO_PORT, &one, sizeof one);
        if (bind(fd, (const struct sockaddr *)source, size_of(source)) != 0) return failed(fd);
    }
    if (connect(fd, (const struct sockaddr *)server, size_of(server)) != 0 && errno != EINPROGRESS) return failed(fd);
    return fd;
}

bool connection_begin(struct swarm *swarm, struct session *session) {
    int attempts = swarm->source_count < SOURCE_ATTEMPTS ? swarm->source_count : SOURCE_ATTEMPTS;
    do {
        session->fd = connect_from_next(swarm, session);
    } while (session->fd < 0 && errno == EADDRNOTAVAIL && --attempts > 0);
    if (session->fd < 0) return false;
    struct epoll_event event = {.events = EPOLLIN | EPOLLOUT | EPOLLRDHUP | EPOLLET};
    event.data.u64 = (uint64_t)session->serial << 32 | number_of(swarm, session);
    return epoll_ctl(swarm->poller, EPOLL_CTL_ADD, session->fd, &event) == 0;
}

void connection_end(struct session *session, bool reset) {
    if (session->records != NULL) records_end(session, !reset);
    if (session->ssl != NULL) {
        if (!reset && session->state > SECURING) SSL_shutdown(session->ssl);
        SSL_free(session->ssl);
    }
    if (session->fd >= 0) {
        struct linger at_once = {.l_onoff = 1};
        if (reset) setsockopt(session->fd, SOL_SOCKET, SO_LINGER, &at_once, sizeof at_once);
        close(session->fd);
    }
    free(session->kept);
    free(session->output);
    session->ssl = NULL;
    session->kept = session->output = NULL;
    session->fd = -1;
}

/* --- bytes --- */

int connection_read(struct session *session, char *into, int size) {
    if (session->records != NULL) return records_read(session, into, size);
    if (session->ssl != NULL) return tls_read(session->ssl, into, size);
    int length = recv(session->fd, into, size, 0);
    if (length > 0) return length;
    if (length < 0 && (errno == EAGAIN || errno == EINTR)) return 0;
    if (length == 0) errno = 0;
    return -1;
}

/* How many bytes were taken, or -1: the connection is over, and reading will tell how. */
static ssize_t send_now(struct session *session, const char *data, size_t length) {
    if (session->ssl != NULL) return tls_write(session->ssl, data, length);
    ssize_t taken = send(session->fd, data, length, MSG_NOSIGNAL);
    return taken >= 0 ? taken : errno == EAGAIN || errno == EINTR ? 0 : -1;
}

bool bytes_append(struct bytes **bytes, const char *data, size_t length) {
    struct bytes *old = *bytes;
    size_t needed = (old == NULL ? 0 : old->length) + length;
    if (old == NULL || needed > old->room) {
        size_t room = old == NULL ? FIRST_ROOM : old->room;
        while (room < needed) room *= 2;
        struct bytes *grown = realloc(old, sizeof *grown + room);
        if (grown == NULL) return false;
        if (old == NULL) grown->length = 0;
        grown->room = room;
        *bytes = grown;
    }
    memcpy((*bytes)->data + (*bytes)->length, data, length);
    (*bytes)->length = needed;
    return true;
}

bool connection_write(struct swarm *swarm, struct session *session, const char *data, size_t length) {
    size_t taken = 0;
    if (session->output != NULL && session->output->length + length > OUTPUT_LIMIT) return false;
    if (session->records != NULL) {
        if (!records_write(session, data, length)) return false;
        swarm->counters.bytes_out += length;
        return true;
    }
    while (session->output == NULL && taken < length) { /* TLS takes one record at a time */
        ssize_t more = send_now(session, data + taken, length - taken);
        if (more < 0) return false;
        if (more == 0) break;
        taken += more;
    }
    if (taken < length && !bytes_append(&session->output, data + taken, length - taken)) {
        shutdown(session->fd, SHUT_RDWR); /* half a stanza was said: no memory to end it */
        return false;
    }
    swarm->counters.bytes_out += length;
    return true;
}

void connection_flush(struct session *session) {
    struct bytes *output = session->output;
    uint32_t taken = 0;
    while (output != NULL && taken < output->length) {
        ssize_t more = send_now(session, output->data + taken, output->length - taken);
        if (more < 0) taken = output->length;
        if (more <= 0) break;
        taken += more;
    }
    if (output == NULL) return;
    memmove(output->data, output->data + taken, output->length - taken);
    output->length -= taken;
    if (output->length > 0) return;
    free(output);
    session->output = NULL;
}
