/* What open sessions say, each kind at its own pace: chat, room chat, presence, keep-alives, food for slow readers. */
#include "swarm.h"

#include <stdio.h>
#include <string.h>

enum { MESSAGE_BYTES = 12288, RANDOM_ATTEMPTS = 4 };
enum { SLACK_NS = 25000000 }; /* keep-alives may be that late: many of them in one turn cost less */

static struct session *random_of(struct swarm *swarm, const struct list *list) {
    if (list->count == 0) return NULL;
    return &swarm->sessions[list->numbers[random_below(swarm, list->count)]];
}

/* The time of sending stands in the body, and the number within its pair (0: it has none); hear.c reads them. `kind`
   begins the id. */
static bool send_message(struct swarm *swarm, struct session *from, const char *to, const char *type, char kind,
                         uint32_t number) {
    char message[MESSAGE_BYTES];
    uint64_t now = clock_ns();
    int fill = swarm->settings.body_bytes - (int)strlen("swarm-0123456789abcdef-01234567 ");
    int length = snprintf(message, sizeof message,
                          "<message to='%s' type='%s' id='%c%llx'><body>swarm-%016llx-%08x %.*s</body></message>", to,
                          type, kind, (unsigned long long)++swarm->number, (unsigned long long)now, number, fill,
                          swarm->body);
    return length < (int)sizeof message && connection_write(swarm, from, message, length);
}

static const char *random_peer(struct swarm *swarm, const struct session *from) {
    if (swarm->peers.count > 0)
        return swarm->peers.text + swarm->peers.offsets[random_below(swarm, swarm->peers.count)];
    for (int attempt = 0; attempt < RANDOM_ATTEMPTS; attempt++) {
        const struct session *other = random_of(swarm, &swarm->open[REGULAR]);
        if (other != from) return other->jid;
    }
    return NULL;
}

/* In turn, so that each pair talks as often as any other. */
static struct session *next_talker(struct swarm *swarm) {
    const struct list *list = &swarm->open[REGULAR];
    if (list->count == 0) return NULL;
    return &swarm->sessions[list->numbers[swarm->next_talker++ % list->count]];
}

static bool say_to_partner(struct swarm *swarm) {
    struct session *from = next_talker(swarm);
    const char *to = from == NULL ? NULL : pairs_partner(swarm, from);
    if (to == NULL) return false;
    struct pair *pair = &swarm->pairs[number_of(swarm, from)];
    if (!send_message(swarm, from, to, "chat", 'c', pair->said + 1)) return false;
    pair->said++;
    return true;
}

static bool say_to_anyone(struct swarm *swarm) {
    struct session *from = random_of(swarm, &swarm->open[REGULAR]);
    const char *to = from == NULL ? NULL : random_peer(swarm, from);
    return to != NULL && send_message(swarm, from, to, "chat", 'c', 0);
}

static void chat(struct swarm *swarm, uint64_t due_ns) {
    uint64_t now = clock_ns();
    if (!(swarm->settings.pairs ? say_to_partner(swarm) : say_to_anyone(swarm))) {
        swarm->counters.chat_unsent++;
        return;
    }
    swarm->counters.chat_sent++;
    histogram_note(&swarm->histograms[LATENESS], now > due_ns ? now - due_ns : 0);
}

static void say_in_room(struct swarm *swarm, uint64_t due_ns) {
    struct session *from = random_of(swarm, &swarm->occupants);
    (void)due_ns;
    if (from == NULL) return;
    const struct room *room = &swarm->rooms[from->room];
    if (!send_message(swarm, from, room->jid, "groupchat", 'r', 0)) return;
    swarm->counters.room_sent++;
    swarm->counters.room_expected += room->inside;
}

static void show_presence(struct swarm *swarm, uint64_t due_ns) {
    struct session *session = random_of(swarm, &swarm->open[REGULAR]);
    (void)due_ns;
    if (session == NULL) return;
    session->away = !session->away;
    if (say(swarm, session, session->away ? "<presence><show>away</show></presence>" : PRESENCE))
        swarm->counters.presence_sent++;
}

static void feed_slow(struct swarm *swarm, uint64_t due_ns) {
    struct session *from = random_of(swarm, &swarm->open[REGULAR]), *to = random_of(swarm, &swarm->open[SLOW]);
    (void)due_ns;
    if (from != NULL && to != NULL && send_message(swarm, from, to->jid, "chat", 's', 0)) swarm->counters.slow_sent++;
}

/* --- keep-alives: one place of the table after another, so fast that all have their turn in the given time --- */

static void ping(struct swarm *swarm, struct session *session) {
    if (session->pinging || session->entering) return;
    if (!say(swarm, session, "<iq type='get' to='%s' id='swarm-%016llx'><ping xmlns='urn:xmpp:ping'/></iq>",
             swarm->domain, (unsigned long long)clock_ns()))
        return;
    session->pinging = true;
    swarm->counters.pings_sent++;
    timer_set(swarm, session, swarm->settings.ping_timeout_seconds);
}

static void keep_next_alive(struct swarm *swarm, uint64_t due_ns) {
    struct session *session = &swarm->sessions[swarm->next_kept_alive++ % swarm->begun];
    (void)due_ns;
    if (session->state != OPEN || session->behaviour != REGULAR) return;
    if (swarm->settings.keep_alive == PING)
        ping(swarm, session);
    else if (connection_write(swarm, session, " ", 1))
        swarm->counters.spaces_sent++;
}

/* --- paces --- */

void talk_paces(struct swarm *swarm) {
    const struct settings *settings = &swarm->settings;
    bool alive = settings->keep_alive != NO_KEEP_ALIVE;
    pace_set(&swarm->chatting, settings->chat_per_second, swarm->now_ns);
    pace_set(&swarm->saying, settings->room_per_second, swarm->now_ns);
    pace_set(&swarm->showing, settings->presence_per_second, swarm->now_ns);
    pace_set(&swarm->feeding_slow, settings->slow_messages_per_second, swarm->now_ns);
    pace_set(&swarm->keeping_alive, alive ? swarm->begun / settings->keep_alive_seconds : 0, swarm->now_ns);
}

static void take_turns(struct swarm *swarm, struct pace *pace, void (*act)(struct swarm *, uint64_t),
                       uint64_t *missed) {
    for (int i = 0; i < SAID_PER_TURN; i++) {
        uint64_t due_ns = pace_take(pace, swarm->now_ns, missed);
        if (due_ns == 0) return;
        act(swarm, due_ns);
    }
}

void talk_turn(struct swarm *swarm) {
    uint64_t unnoticed = 0;
    talk_paces(swarm);
    take_turns(swarm, &swarm->chatting, chat, &swarm->counters.chat_unsent);
    take_turns(swarm, &swarm->saying, say_in_room, &unnoticed);
    take_turns(swarm, &swarm->showing, show_presence, &unnoticed);
    take_turns(swarm, &swarm->feeding_slow, feed_slow, &unnoticed);
    take_turns(swarm, &swarm->keeping_alive, keep_next_alive, &unnoticed);
}

static uint64_t earlier(uint64_t left, uint64_t right) { return left < right ? left : right; }

uint64_t talk_due(const struct swarm *swarm) {
    uint64_t due = earlier(pace_due(&swarm->chatting), pace_due(&swarm->saying));
    due = earlier(due, earlier(pace_due(&swarm->showing), pace_due(&swarm->feeding_slow)));
    uint64_t alive = pace_due(&swarm->keeping_alive);
    return earlier(due, alive == UINT64_MAX ? alive : alive + SLACK_NS);
}
