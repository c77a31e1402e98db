/* The server behind the relay: lets a client log in, then sends every stanza back. Usage: echo PORT [websocket]

   It speaks XMPP over TCP, or over WebSocket to those whose relay only passes that on. On TCP a stanza leaves without the
   namespace that its stream has declared, as that of a server does, whatever it came with. */
#define _GNU_SOURCE
#include "websocket.h"

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
    struct frames frames;
};

static struct session sessions[DESCRIPTORS];
static char buffer[READ_BYTES], written[2 * READ_BYTES];
static int poller, websocket;

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

static void echo_stanzas(int fd, char *data, size_t length) {
    size_t size = strlen(CLIENT_SPACE), kept = 0;
    char *from = data, *end = data + length, *found;
    while ((found = memmem(from, end - from, CLIENT_SPACE, size)) != NULL) {
        memmove(data + kept, from, found - from);
        kept += found - from;
        from = found + size;
    }
    if (from != data) memmove(data + kept, from, end - from);
    say(fd, data, kept + (end - from));
}

/* --- WebSocket: a message of the login is known by its number --- */

static size_t answer_message(int step) {
    size_t size = 0;
    const char *const *answers = EXCHANGES[step].answers;
    for (int i = 0; i < 2 && answers[i] != NULL; i++)
        size += write_message(written + size, answers[i], strlen(answers[i]), 0);
    return size;
}

static void echo_messages(int fd, const char *data, size_t length) {
    struct session *session = &sessions[fd];
    struct frames *frames = &session->frames;
    size_t size = 0, at = 0;
    while (at < length) {
        int logged_in = session->step > EXCHANGE_COUNT, ended, began = !frames->inside;
        at += take_head(frames, data + at, length - at);
        if (!frames->inside) break;
        if (began && logged_in) size += write_head(written + size, frames->left, 0);
        const uint8_t *mask = frames->head + frames->have - MASK_BYTES;
        uint8_t turn = frames->turn;
        size_t part = take_payload(frames, length - at, &ended);
        for (size_t i = 0; logged_in && i < part; i++) written[size++] = (char)(data[at + i] ^ mask[(turn + i) & 3]);
        at += part;
        if (ended && !logged_in) size += answer_message(session->step++ - 1);
    }
    if (size) say(fd, written, size);
}

static void take_messages(int fd, const char *data, size_t length) {
    if (sessions[fd].step > 0) {
        echo_messages(fd, data, length);
    } else if (ends_with(data, length, "\r\n\r\n")) { /* a relay sends it whole */
        sessions[fd].step = 1;
        say(fd, UPGRADE_ANSWER, strlen(UPGRADE_ANSWER));
    } else {
        end(fd);
    }
}

static void take(int fd) {
    ssize_t length = read(fd, buffer, sizeof buffer);
    if (length > 0 && websocket)
        take_messages(fd, buffer, length);
    else if (length > 0 && sessions[fd].step == LOGIN_STEPS)
        echo_stanzas(fd, buffer, length);
    else if (length > 0)
        log_in(fd, buffer, length);
    else if (length == 0 || errno != EAGAIN)
        end(fd);
}

int main(int count, char **arguments) {
    if (count != 2 && count != 3) die("usage: echo PORT [websocket]");
    websocket = count == 3;
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
