/* The server behind the relay: lets a client log in, then sends every byte back. Usage: echo PORT */
#define _GNU_SOURCE
#include "xmpp.h"

#include <netinet/in.h>
#include <netinet/tcp.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <unistd.h>

enum { DESCRIPTORS = 20000, EVENTS = 256, READ_BYTES = 65536, ROOM_BYTES = 262144 };

struct session {
    uint8_t step;
    uint16_t length;
    char *login; /* what has come of the present request; freed after the login */
};

static struct session sessions[DESCRIPTORS];
static char buffer[READ_BYTES];
static int poller;

static void watch(int fd) {
    struct epoll_event event = {.events = EPOLLIN, .data.fd = fd};
    if (epoll_ctl(poller, EPOLL_CTL_ADD, fd, &event) != 0) die("epoll_ctl");
}

static int listen_on(int port) {
    int one = 1, fd = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK, 0);
    struct sockaddr_in address = {.sin_family = AF_INET, .sin_port = htons(port), .sin_addr = {htonl(INADDR_LOOPBACK)}};
    setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &one, sizeof one);
    if (bind(fd, (struct sockaddr *)&address, sizeof address) != 0 || listen(fd, 4096) != 0) die("port %d", port);
    return fd;
}

static void accept_all(int listener) {
    int one = 1, room = ROOM_BYTES, fd;
    while ((fd = accept4(listener, NULL, NULL, SOCK_NONBLOCK)) >= 0) {
        if (fd >= DESCRIPTORS) die("too many connections");
        setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof one);
        setsockopt(fd, SOL_SOCKET, SO_SNDBUF, &room, sizeof room);
        sessions[fd] = (struct session){.login = malloc(LOGIN_BYTES)};
        watch(fd);
    }
    if (errno != EAGAIN && errno != ECONNABORTED) die("accept");
}

static void end(int fd) {
    free(sessions[fd].login);
    sessions[fd].login = NULL;
    close(fd);
}

static void say(int fd, const char *data, size_t length) {
    ssize_t sent = send(fd, data, length, MSG_NOSIGNAL);
    if (sent < 0 && (errno == EPIPE || errno == ECONNRESET)) return; /* the reading side will see the end */
    if (sent != (ssize_t)length) die("a client does not read");
}

static void log_in(int fd, const char *data, size_t length) {
    struct session *session = &sessions[fd];
    const struct answer *answer = &ANSWERS[session->step];
    if (session->length + length > LOGIN_BYTES) {
        end(fd);
        return;
    }
    memcpy(session->login + session->length, data, length);
    session->length += length;
    if (!ends_with(session->login, session->length, answer->terminator)) return;
    session->length = 0;
    if (++session->step == LOGIN_STEPS) {
        free(session->login);
        session->login = NULL;
    }
    say(fd, answer->text, strlen(answer->text));
}

static void take(int fd) {
    ssize_t length = read(fd, buffer, sizeof buffer);
    if (length > 0 && sessions[fd].step == LOGIN_STEPS)
        say(fd, buffer, length);
    else if (length > 0)
        log_in(fd, buffer, length);
    else if (length == 0 || errno != EAGAIN)
        end(fd);
}

int main(int count, char **arguments) {
    if (count != 2) die("usage: echo PORT");
    int listener = listen_on(atoi(arguments[1]));
    poller = epoll_create1(0);
    watch(listener);
    for (;;) {
        struct epoll_event events[EVENTS];
        int ready = epoll_wait(poller, events, EVENTS, -1);
        for (int i = 0; i < ready; i++) {
            if (events[i].data.fd == listener)
                accept_all(listener);
            else
                take(events[i].data.fd);
        }
    }
}
