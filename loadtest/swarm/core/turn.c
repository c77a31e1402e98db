/* The loop of a swarm, a turn at a time: what is ready is handled, then what is due. Whoever drives it waits. */
#include "swarm.h"

#include <openssl/rand.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <time.h>
#include <unistd.h>

static const uint64_t LONGEST_WAIT_NS = 1000000000;
enum { AT_ONCE = 64, BODY_BYTES = 8192, KEY_ROWS_LEAST = 64 };

uint64_t clock_ns(void) {
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (uint64_t)now.tv_sec * 1000000000 + now.tv_nsec;
}

uint32_t since_began_ms(const struct swarm *swarm) { return (swarm->now_ns - swarm->began_ns) / 1000000; }

/* xorshift64* (Vigna 2016): for choices, not for secrets. */
uint32_t random_below(struct swarm *swarm, uint32_t limit) {
    swarm->random ^= swarm->random >> 12;
    swarm->random ^= swarm->random << 25;
    swarm->random ^= swarm->random >> 27;
    uint32_t random = swarm->random * 2685821657736338717u >> 32;
    return (uint64_t)random * limit >> 32;
}

/* --- a turn --- */

static void connected(struct swarm *swarm, struct session *session) {
    int error = 0;
    socklen_t size = sizeof error;
    getsockopt(session->fd, SOL_SOCKET, SO_ERROR, &error, &size);
    if (error != 0) {
        session_ended(swarm, session, error);
    } else if (swarm->security == DIRECT_TLS) {
        stream_secure(swarm, session);
    } else {
        session_set_state(swarm, session, LOGGING_IN);
        say_header(swarm, session);
    }
}

static void take(struct swarm *swarm, struct session *session, uint32_t events) {
    bool ended = events & (EPOLLRDHUP | EPOLLHUP | EPOLLERR);
    uint32_t serial = session->serial;
    swarm->now_ns = clock_ns();
    if (session->state == CONNECTING) {
        if (events & (EPOLLOUT | EPOLLERR | EPOLLHUP)) connected(swarm, session);
        if (!ended) return;
    }
    if (session->serial == serial && session->state == SECURING) stream_secure(swarm, session);
    if (session->serial != serial || session->state < LOGGING_IN) return;
    if (events & EPOLLOUT && session->output != NULL) connection_flush(session);
    if (session->behaviour != SLOW || session->state != OPEN || ended) stream_receive(swarm, session, ended);
}

static int take_ready(struct swarm *swarm, int limit) {
    struct epoll_event events[EVENTS];
    int ready = epoll_wait(swarm->poller, events, limit < EVENTS ? limit : EVENTS, 0);
    for (int i = 0; i < ready; i++) {
        struct session *session = &swarm->sessions[(uint32_t)events[i].data.u64];
        /* An event of a connection that ended in the same turn is not for the one that is in its place now. */
        if (session->serial == events[i].data.u64 >> 32) take(swarm, session, events[i].events);
    }
    return ready;
}

static uint64_t next_due(const struct swarm *swarm) {
    uint64_t due = swarm->now_ns + LONGEST_WAIT_NS, other = timer_due(swarm);
    if (other < due) due = other;
    if ((other = talk_due(swarm)) < due) due = other;
    if ((other = rooms_due(swarm)) < due) due = other;
    if (!sessions_may_begin(swarm)) return due;
    other = swarm->opening.per_second > 0 ? swarm->opening.next_ns : swarm->now_ns;
    return other < due ? other : due;
}

double swarm_turn(struct swarm *swarm, int limit) {
    int handled = 0, ready;
    do {
        ready = take_ready(swarm, limit - handled);
        handled += ready > 0 ? ready : 0;
    } while (ready == EVENTS && handled < limit);
    swarm->now_ns = clock_ns();
    timer_turn(swarm);
    sessions_begin_more(swarm);
    rooms_turn(swarm);
    talk_turn(swarm);
    swarm->now_ns = clock_ns();
    uint64_t due = next_due(swarm);
    return handled >= limit || due <= swarm->now_ns ? 0 : (due - swarm->now_ns) / 1e9;
}

/* --- a swarm --- */

static bool allocate(struct swarm *swarm, uint32_t limit) {
    bool enough = true;
    swarm->keys.rows = KEY_ROWS_LEAST;
    while (swarm->keys.rows < limit) swarm->keys.rows *= 2;
    /* Memory of calloc becomes real where it is written to. */
    enough &= (swarm->sessions = calloc(limit, sizeof *swarm->sessions)) != NULL;
    enough &= (swarm->unused = calloc(limit, sizeof *swarm->unused)) != NULL;
    enough &= (swarm->keys.table = calloc(swarm->keys.rows, sizeof *swarm->keys.table)) != NULL;
    enough &= (swarm->occupants.numbers = calloc(limit, sizeof(uint32_t))) != NULL;
    for (int i = 0; i < BEHAVIOURS; i++) enough &= (swarm->open[i].numbers = calloc(limit, sizeof(uint32_t))) != NULL;
    enough &= (swarm->buffer = malloc(READ_BYTES)) != NULL;
    enough &= (swarm->body = malloc(BODY_BYTES)) != NULL;
    enough &= (swarm->poller = epoll_create1(EPOLL_CLOEXEC)) >= 0;
    return enough;
}

struct swarm *swarm_new(uint32_t limit) {
    struct swarm *swarm = calloc(1, sizeof *swarm);
    if (swarm == NULL) return NULL;
    swarm->poller = -1;
    swarm->limit = limit;
    if (!allocate(swarm, limit) || RAND_bytes((unsigned char *)&swarm->random, sizeof swarm->random) != 1) {
        swarm_free(swarm);
        return NULL;
    }
    swarm->random |= 1;
    memset(swarm->body, 'x', BODY_BYTES);
    for (int i = 0; i < WHEEL_SLOTS; i++) swarm->wheel[i] = NOBODY;
    swarm->queue_first = swarm->queue_last = NOBODY;
    swarm->at_once = AT_ONCE;
    swarm->began_ns = swarm->now_ns = clock_ns();
    return swarm;
}

void swarm_free(struct swarm *swarm) {
    if (swarm->sessions != NULL && swarm->unused != NULL) sessions_stop(swarm, UINT32_MAX, true);
    if (swarm->poller >= 0) close(swarm->poller);
    for (int i = 0; i < BEHAVIOURS; i++) free(swarm->open[i].numbers);
    rooms_free(swarm);
    peers_free(&swarm->peers);
    accounts_free(&swarm->accounts);
    SSL_CTX_free(swarm->tls);
    free(swarm->occupants.numbers);
    free(swarm->keys.table);
    free(swarm->sessions);
    free(swarm->pairs);
    free(swarm->unused);
    free(swarm->servers);
    free(swarm->sources);
    free(swarm->domain);
    free(swarm->buffer);
    free(swarm->body);
    free(swarm);
}
