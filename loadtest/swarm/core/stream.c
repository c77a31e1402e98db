/* The stream of one session: elements out of the bytes that come, and texts that go. */
#include "swarm.h"

#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>

enum { READS_AT_ONCE = 16, SLOW_TURNS_PER_SECOND = 4 };

bool say(struct swarm *swarm, struct session *session, const char *format, ...) {
    char text[SAY_BYTES];
    va_list arguments;
    va_start(arguments, format);
    int length = vsnprintf(text, sizeof text, format, arguments);
    va_end(arguments);
    return length < (int)sizeof text && connection_write(swarm, session, text, length);
}

void stream_restart(struct session *session) {
    session->scanner = (struct scanner){0};
    session->step = FEATURES;
}

void say_header(struct swarm *swarm, struct session *session) {
    stream_restart(session);
    if (hostile_speaks(swarm, session, AT_HEADER)) return;
    say(swarm, session, HEADER, swarm->domain);
}

void stream_secure(struct swarm *swarm, struct session *session) {
    char why[CONDITION_BYTES];
    if (session->state != SECURING) session_set_state(swarm, session, SECURING);
    int result = tls_handshake(swarm, session, why, sizeof why);
    if (result < 0) session_fail(swarm, session, "tls", why);
    if (result <= 0) return;
    session->secured = true;
    session_set_state(swarm, session, LOGGING_IN);
    say_header(swarm, session);
}

/* --- elements --- */

static void take_element(struct swarm *swarm, struct session *session, struct slice element) {
    struct slice tag, rest = element;
    if (!next_tag(&rest, &tag)) return;
    if (is_named(tag, "error"))
        hear_stream_error(swarm, session, element);
    else if (session->waits_for_answer)
        hostile_hear(swarm, session, element);
    else if (session->state == LOGGING_IN)
        login_hear(swarm, session, element);
    else if (session->state == OPEN || session->state == CLOSING)
        hear(swarm, session, element);
}

static void take(struct swarm *swarm, struct session *session, enum scanned what, struct slice element) {
    if (what == SCAN_END)
        session_ended(swarm, session, 0);
    else if (what == SCAN_ELEMENT)
        take_element(swarm, session, element);
}

/* An element of which parts have come before. */
static void take_kept(struct swarm *swarm, struct session *session, enum scanned what, struct slice last_part) {
    struct bytes *kept = session->kept;
    bool was_skipping = session->skipping;
    session->kept = NULL;
    session->skipping = false;
    if (was_skipping || !bytes_append(&kept, last_part.at, last_part.length)) {
        swarm->counters.stanzas_skipped++;
        kept = NULL;
        if (session->state == LOGGING_IN)
            session_fail(swarm, session, "login", "stanza-too-big");
        else if (what == SCAN_END)
            session_ended(swarm, session, 0);
    } else {
        take(swarm, session, what, (struct slice){kept->data, kept->length});
    }
    free(kept);
}

static void keep(struct session *session, const char *at, size_t length) {
    if (session->skipping) return;
    uint32_t kept = session->kept == NULL ? 0 : session->kept->length;
    if (kept + length <= KEPT_LIMIT && bytes_append(&session->kept, at, length)) return;
    free(session->kept);
    session->kept = NULL;
    session->skipping = true;
}

static bool is_space(char c) { return c == ' ' || c == '\n' || c == '\r' || c == '\t'; }

/* What stands in `data` may end the session, or begin TLS: then the rest is not looked at. */
static bool take_data(struct swarm *swarm, struct session *session, const char *data, size_t length) {
    const char *at = data, *end = data + length;
    uint32_t serial = session->serial;
    while (at < end) {
        enum scanned what;
        if (scan_is_between(&session->scanner))
            while (at < end && is_space(*at)) at++;
        const char *begin = at;
        at = scan(&session->scanner, at, end, &what);
        struct slice element = {begin, at - begin};
        if (what == SCAN_MORE) {
            if (element.length > 0) keep(session, begin, element.length);
            return true;
        }
        swarm->counters.stanzas_in += what == SCAN_ELEMENT;
        if (session->kept != NULL || session->skipping)
            take_kept(swarm, session, what, element);
        else
            take(swarm, session, what, element);
        if (session->serial != serial || session->state == SECURING) return false;
    }
    return true;
}

/* --- bytes --- */

static void read_again_later(struct swarm *swarm, struct session *session) {
    struct epoll_event event = {.events = EPOLLIN | EPOLLOUT | EPOLLRDHUP | EPOLLET};
    event.data.u64 = (uint64_t)session->serial << 32 | number_of(swarm, session);
    epoll_ctl(swarm->poller, EPOLL_CTL_MOD, session->fd, &event);
}

/* `until_end`: the connection is known to have ended behind what can be read. */
void stream_receive(struct swarm *swarm, struct session *session, bool until_end) {
    int size = READ_BYTES, reads = READS_AT_ONCE;
    bool slowly = session->behaviour == SLOW && session->state == OPEN && !until_end;
    if (slowly) {
        size = (swarm->settings.slow_bytes_per_second + SLOW_TURNS_PER_SECOND - 1) / SLOW_TURNS_PER_SECOND;
        size = size < READ_BYTES ? size : READ_BYTES;
        reads = 1;
    }
    for (; reads > 0; reads--) {
        int length = connection_read(session, swarm->buffer, size);
        if (length == 0) return;
        if (length < 0) {
            session_ended(swarm, session, errno);
            return;
        }
        swarm->counters.bytes_in += length;
        swarm->now_ns = clock_ns();
        if (!take_data(swarm, session, swarm->buffer, length)) return;
        /* A short read has emptied a socket, and more will be a new edge (epoll(7)). */
        if (session->ssl == NULL && session->records == NULL && length < size && !until_end) return;
    }
    if (!slowly) read_again_later(swarm, session);
}
