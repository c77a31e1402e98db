/* The life of a session: it connects and logs in, is open, leaves or is lost, rests and comes back. */
#include "swarm.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

static const double SLOW_TURN_SECONDS = 0.25;
enum { SETBACKS_LIMIT = 30 };

void session_set_state(struct swarm *swarm, struct session *session, enum state state) {
    swarm->states[session->state]--;
    session->state = state;
    swarm->states[state]++;
}

void list_add(struct list *list, uint32_t number, uint32_t *place) {
    *place = list->count;
    list->numbers[list->count++] = number;
}

static void leave_open(struct swarm *swarm, struct session *session) {
    struct list *list = &swarm->open[session->behaviour];
    if (session->place == NOBODY) return;
    uint32_t last = list->numbers[--list->count];
    list->numbers[session->place] = last;
    swarm->sessions[last].place = session->place;
    session->place = NOBODY;
}

/* --- the queue of those that come back --- */

static void queue_append(struct swarm *swarm, struct session *session) {
    uint32_t number = number_of(swarm, session);
    session->next = NOBODY;
    session->previous = swarm->queue_last;
    if (swarm->queue_last == NOBODY)
        swarm->queue_first = number;
    else
        swarm->sessions[swarm->queue_last].next = number;
    swarm->queue_last = number;
    session_set_state(swarm, session, QUEUED);
}

static void queue_remove(struct swarm *swarm, struct session *session) {
    if (session->previous == NOBODY)
        swarm->queue_first = session->next;
    else
        swarm->sessions[session->previous].next = session->next;
    if (session->next == NOBODY)
        swarm->queue_last = session->previous;
    else
        swarm->sessions[session->next].previous = session->previous;
}

/* --- the end --- */

static void drop_connection(struct swarm *swarm, struct session *session, bool reset) {
    timer_stop(swarm, session);
    leave_open(swarm, session);
    rooms_forget(swarm, session);
    connection_end(session, reset);
    free(session->login);
    free(session->jid);
    session->login = NULL;
    session->jid = NULL;
    session->serial++;
    session->secured = session->authenticated = session->session_needed = session->skipping = false;
    session->pinging = session->entering = session->away = session->waits_for_answer = session->pipelined = false;
    session->scanner = (struct scanner){0};
}

static void give_up(struct swarm *swarm, struct session *session) {
    session_set_state(swarm, session, UNUSED);
    session->setbacks = 0;
    swarm->unused[swarm->unused_count++] = number_of(swarm, session);
}

void session_gone(struct swarm *swarm, struct session *session) {
    drop_connection(swarm, session, false);
    give_up(swarm, session);
}

static void rest(struct swarm *swarm, struct session *session) {
    const struct settings *settings = &swarm->settings;
    double longest = settings->reconnect_seconds * (double)(1u << session->setbacks);
    if (longest > settings->reconnect_limit_seconds) longest = settings->reconnect_limit_seconds;
    if (session->setbacks < SETBACKS_LIMIT) session->setbacks++;
    session_set_state(swarm, session, RESTING);
    timer_set(swarm, session, longest * random_below(swarm, 1 << 20) / (1 << 20));
}

void session_fail(struct swarm *swarm, struct session *session, const char *where, const char *what) {
    bool comes_back = swarm->settings.reconnect && session->behaviour != HOSTILE && session->state != CLOSING &&
                      strcmp(what, "conflict") != 0;
    reasons_note(&swarm->reasons, where, what);
    if (session->state == OPEN)
        swarm->counters.lost++;
    else if (session->state == CLOSING)
        swarm->counters.closed++;
    else
        swarm->counters.login_failures++;
    drop_connection(swarm, session, false);
    if (comes_back)
        rest(swarm, session);
    else
        give_up(swarm, session);
}

static const char *phase(const struct session *session) {
    switch ((enum state)session->state) {
    case CONNECTING:
        return "connect";
    case SECURING:
        return "tls";
    case OPEN:
        return "session";
    case CLOSING:
        return "close";
    default:
        return "login";
    }
}

void session_ended(struct swarm *swarm, struct session *session, int error) {
    const char *what = error == 0 ? "closed" : strerrorname_np(error);
    if (session->waits_for_answer) {
        hostile_answered(swarm, session, "closed");
    } else if (session->state == CLOSING && error == 0) {
        histogram_note(&swarm->histograms[CLOSE_TIME], (uint64_t)(since_began_ms(swarm) - session->asked_ms) * 1000000);
        swarm->counters.closed++;
        session_gone(swarm, session);
    } else {
        session_fail(swarm, session, phase(session), what != NULL ? what : "unknown");
    }
}

/* --- the beginning --- */

static void begin(struct swarm *swarm, struct session *session) {
    session_set_state(swarm, session, CONNECTING);
    session->login = calloc(1, sizeof *session->login);
    session->step = FEATURES;
    swarm->counters.connects++;
    if (session->login == NULL || !connection_begin(swarm, session)) {
        const char *name = strerrorname_np(errno);
        session_fail(swarm, session, "connect", name != NULL ? name : "unknown");
        return;
    }
    session->login->began_ns = swarm->now_ns = clock_ns();
    timer_set(swarm, session, swarm->settings.login_timeout_seconds);
}

static struct session *new_session(struct swarm *swarm) {
    enum behaviour behaviour = REGULAR;
    while (swarm->wanted[behaviour] == 0) behaviour++;
    swarm->wanted[behaviour]--;
    swarm->wanted_total--;
    struct session *session =
        &swarm->sessions[swarm->unused_count > 0 ? swarm->unused[--swarm->unused_count] : swarm->begun++];
    uint32_t serial = session->serial;
    *session = (struct session){.serial = serial, .fd = -1, .place = NOBODY, .room = NOBODY, .occupant = NOBODY};
    session->behaviour = behaviour;
    session->account = swarm->next_account++;
    session->input = behaviour == HOSTILE ? swarm->next_input++ : 0;
    return session;
}

bool sessions_may_begin(const struct swarm *swarm) {
    bool place = swarm->unused_count > 0 || swarm->begun < swarm->limit;
    uint32_t in_flight = swarm->states[CONNECTING] + swarm->states[SECURING] + swarm->states[LOGGING_IN];
    return in_flight < swarm->at_once && (swarm->queue_first != NOBODY || (swarm->wanted_total > 0 && place));
}

/* Those that come back go first. */
void sessions_begin_more(struct swarm *swarm) {
    uint64_t missed = 0;
    for (int started = 0; started < STARTS_PER_TURN; started++) {
        if (!sessions_may_begin(swarm)) return;
        if (swarm->opening.per_second > 0 && pace_take(&swarm->opening, swarm->now_ns, &missed) == 0) return;
        if (swarm->queue_first != NOBODY) {
            struct session *session = &swarm->sessions[swarm->queue_first];
            queue_remove(swarm, session);
            swarm->counters.reconnects++;
            begin(swarm, session);
        } else {
            begin(swarm, new_session(swarm));
        }
    }
}

void session_logged_in(struct swarm *swarm, struct session *session) {
    histogram_note(&swarm->histograms[LOGIN_TIME], swarm->now_ns - session->login->began_ns);
    free(session->login);
    session->login = NULL;
    session->setbacks = 0;
    timer_stop(swarm, session);
    session_set_state(swarm, session, OPEN);
    list_add(&swarm->open[session->behaviour], number_of(swarm, session), &session->place);
    if (session->behaviour == HALF_OPEN) return;
    swarm->counters.logins++;
    if (swarm->settings.presence) {
        swarm->counters.presence_sent++;
        if (!session->pipelined) say(swarm, session, PRESENCE);
    }
    if (session->behaviour == SLOW) timer_set(swarm, session, SLOW_TURN_SECONDS);
    if (session->behaviour == HOSTILE) hostile_speaks(swarm, session, AT_OPEN);
}

/* --- leaving --- */

void session_leave(struct swarm *swarm, struct session *session) {
    uint32_t serial = session->serial;
    leave_open(swarm, session);
    rooms_forget(swarm, session);
    session_set_state(swarm, session, CLOSING);
    session->pinging = false;
    session->asked_ms = since_began_ms(swarm);
    timer_set(swarm, session, swarm->settings.close_timeout_seconds);
    bool is_bound = session->behaviour != HALF_OPEN;
    say(swarm, session, is_bound ? "<presence type='unavailable'/></stream:stream>" : "</stream:stream>");
    /* What a slow reader left unread is reported by no edge any more. */
    if (session->behaviour == SLOW && session->serial == serial) stream_receive(swarm, session, true);
}

static bool stop(struct swarm *swarm, struct session *session, bool reset) {
    if (session->state == UNUSED || (session->state == CLOSING && !reset)) return false;
    if (session->state == QUEUED) queue_remove(swarm, session);
    if (session->state == OPEN && !reset) {
        session_leave(swarm, session);
        return true;
    }
    if (session->state > QUEUED) reset ? swarm->counters.aborted++ : swarm->counters.closed++;
    drop_connection(swarm, session, reset);
    give_up(swarm, session);
    return true;
}

void sessions_stop(struct swarm *swarm, uint32_t count, bool reset) {
    for (int behaviour = 0; behaviour < BEHAVIOURS; behaviour++) {
        uint32_t dropped = count < swarm->wanted[behaviour] ? count : swarm->wanted[behaviour];
        swarm->wanted[behaviour] -= dropped;
        swarm->wanted_total -= dropped;
        count -= dropped;
    }
    for (uint32_t tried = 0; tried < swarm->begun && count > 0; tried++)
        count -= stop(swarm, &swarm->sessions[swarm->leaver++ % swarm->begun], reset);
}

/* --- deadlines --- */

static void read_slowly(struct swarm *swarm, struct session *session) {
    timer_set(swarm, session, SLOW_TURN_SECONDS);
    if (swarm->settings.slow_bytes_per_second > 0) stream_receive(swarm, session, false);
}

static void open_due(struct swarm *swarm, struct session *session) {
    if (session->waits_for_answer)
        hostile_answered(swarm, session, "timeout");
    else if (session->entering)
        rooms_refused(swarm, session, "timeout");
    else if (session->pinging)
        session_fail(swarm, session, "ping", "timeout");
    else if (session->behaviour == SLOW)
        read_slowly(swarm, session);
}

void session_due(struct swarm *swarm, struct session *session) {
    switch ((enum state)session->state) {
    case RESTING:
        queue_append(swarm, session);
        break;
    case OPEN:
        open_due(swarm, session);
        break;
    case CLOSING:
        swarm->counters.close_timeouts++;
        reasons_note(&swarm->reasons, "close", "timeout");
        session_gone(swarm, session);
        break;
    default:
        if (session->waits_for_answer)
            hostile_answered(swarm, session, "timeout");
        else
            session_fail(swarm, session, phase(session), "timeout");
    }
}
