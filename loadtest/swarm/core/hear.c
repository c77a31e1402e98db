/* What an open session is told: deliveries are counted and timed, requests answered, errors counted by condition. */
#include "swarm.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static const char STAMP[] = "swarm-";
enum { STAMP_DIGITS = 16, NUMBER_DIGITS = 8 };

struct stamp {
    uint64_t sent_ns; /* 0: there is no stamp */
    uint32_t number;  /* within a pair; 0: of none */
};

/* Whether there is a number of so many hexadecimal digits. */
static bool read_digits(const char *at, const char *end, int count, uint64_t *number) {
    char digits[STAMP_DIGITS + 1] = "", *stop;
    if (end - at < count) return false;
    memcpy(digits, at, count);
    *number = strtoull(digits, &stop, 16);
    return stop == digits + count;
}

static struct stamp stamp_in(struct slice text) {
    const char *at = text.at, *end = at + text.length;
    while ((at = memmem(at, end - at, STAMP, sizeof STAMP - 1)) != NULL) {
        uint64_t ns, number;
        at += sizeof STAMP - 1;
        if (!read_digits(at, end, STAMP_DIGITS, &ns)) continue;
        at += STAMP_DIGITS;
        bool is_numbered = at < end && *at == '-' && read_digits(at + 1, end, NUMBER_DIGITS, &number);
        return (struct stamp){ns, is_numbered ? number : 0};
    }
    return (struct stamp){0};
}

/* The clock is that of the host: swarms of one host time what they send each other. */
static uint64_t since(const struct swarm *swarm, uint64_t sent_ns) {
    return sent_ns < swarm->now_ns ? swarm->now_ns - sent_ns : 0;
}

static void note_delivery(struct swarm *swarm, uint64_t sent_ns, enum what what) {
    histogram_note(&swarm->histograms[what], since(swarm, sent_ns));
}

/* --- messages --- */

/* The id tells what it was that came back: RFC 6120 section 8.1.3. */
static void hear_bounce(struct swarm *swarm, struct slice tag, struct slice message) {
    struct slice id = attribute(tag, "id");
    char condition[CONDITION_BYTES];
    bool of_room = id.length > 0 && id.at[0] == 'r';
    find_condition(message, "error", condition, sizeof condition);
    *(of_room ? &swarm->counters.room_bounced : &swarm->counters.chat_bounced) += 1;
    swarm->counters.stanza_errors++;
    reasons_note(&swarm->reasons, of_room ? "room" : "message", condition);
}

static void hear_message(struct swarm *swarm, struct session *session, struct slice tag, struct slice message) {
    struct slice type = attribute(tag, "type"), delay, rest;
    if (is_text(type, "error")) {
        hear_bounce(swarm, tag, message);
        return;
    }
    struct stamp stamp = stamp_in(message);
    if (stamp.sent_ns == 0) return;
    if (stamp.number > 0 && swarm->pairs != NULL) pairs_hear(swarm, session, stamp.number, since(swarm, stamp.sent_ns));
    bool in_room = is_text(type, "groupchat");
    struct counters *counters = &swarm->counters;
    if (find_tag(message, "delay", &delay, &rest)) { /* XEP-0203: it was stored */
        *(in_room ? &counters->room_delayed : &counters->chat_delayed) += 1;
    } else if (session->behaviour == SLOW) {
        counters->slow_received++;
    } else {
        *(in_room ? &counters->room_received : &counters->chat_received) += 1;
        note_delivery(swarm, stamp.sent_ns, in_room ? ROOM_TIME : CHAT_TIME);
    }
}

/* --- requests and answers --- */

static const char *quote_for(struct slice value) { return memchr(value.at, '\'', value.length) == NULL ? "'" : "\""; }

/* RFC 6120 section 8.2.3: each request is answered. */
static void answer_request(struct swarm *swarm, struct session *session, struct slice tag, struct slice iq) {
    struct slice id = attribute(tag, "id"), from = attribute(tag, "from"), child;
    const char *quote_id = quote_for(id), *quote_from = quote_for(from), *to = from.length > 0 ? " to=" : "";
    if (from.length == 0) quote_from = "";
    bool is_ping = find_tag(iq, "ping", &child, &iq);
    swarm->counters.pings_heard += is_ping;
    say(swarm, session, "<iq type='%s' id=%s%.*s%s%s%s%.*s%s>%s</iq>", is_ping ? "result" : "error", quote_id,
        (int)id.length, id.at, quote_id, to, quote_from, (int)from.length, from.at, quote_from,
        is_ping ? ""
                : "<error type='cancel'><service-unavailable xmlns='urn:ietf:params:xml:ns:xmpp-stanzas'/></error>");
}

/* An answer of any type shows that the server is there (XEP-0199 section 4.2). */
static void hear_answer(struct swarm *swarm, struct session *session, struct slice id) {
    if (!session->pinging || id.length != STAMP_DIGITS + sizeof STAMP - 1) return;
    session->pinging = false;
    timer_stop(swarm, session);
    swarm->counters.pings_answered++;
    note_delivery(swarm, stamp_in(id).sent_ns, PING_TIME);
}

static void hear_iq(struct swarm *swarm, struct session *session, struct slice tag, struct slice iq) {
    struct slice type = attribute(tag, "type");
    if (!is_text(type, "get") && !is_text(type, "set"))
        hear_answer(swarm, session, attribute(tag, "id"));
    else if (session->behaviour == REGULAR || session->behaviour == SLOW)
        answer_request(swarm, session, tag, iq);
}

/* --- presence --- */

enum { ABOUT_OURSELVES = 110, ROOM_IS_NEW = 201 }; /* XEP-0045 section 15.6 */

static bool has_status(struct slice presence, int code) {
    struct slice tag;
    char text[8];
    snprintf(text, sizeof text, "%d", code);
    if (memmem(presence.at, presence.length, text, strlen(text)) == NULL) return false;
    while (find_tag(presence, "status", &tag, &presence))
        if (is_text(attribute(tag, "code"), text)) return true;
    return false;
}

static void hear_presence(struct swarm *swarm, struct session *session, struct slice tag, struct slice presence) {
    struct slice type = attribute(tag, "type");
    bool of_room = rooms_is_ours(swarm, session, attribute(tag, "from"));
    swarm->counters.presence_received++;
    if (is_text(type, "error")) {
        char condition[CONDITION_BYTES];
        find_condition(presence, "error", condition, sizeof condition);
        swarm->counters.stanza_errors++;
        if (of_room)
            rooms_refused(swarm, session, condition);
        else
            reasons_note(&swarm->reasons, "presence", condition);
    } else if (of_room && has_status(presence, ABOUT_OURSELVES)) {
        if (is_text(type, "unavailable"))
            rooms_refused(swarm, session, "removed");
        else
            rooms_entered(swarm, session, has_status(presence, ROOM_IS_NEW));
    }
}

/* --- dispatch --- */

void hear(struct swarm *swarm, struct session *session, struct slice element) {
    struct slice tag, rest = element;
    next_tag(&rest, &tag);
    if (is_named(tag, "message"))
        hear_message(swarm, session, tag, element);
    else if (is_named(tag, "presence"))
        hear_presence(swarm, session, tag, element);
    else if (is_named(tag, "iq"))
        hear_iq(swarm, session, tag, element);
}

void hear_stream_error(struct swarm *swarm, struct session *session, struct slice element) {
    char condition[CONDITION_BYTES];
    find_condition(element, "error", condition, sizeof condition);
    if (session->waits_for_answer)
        hostile_answered(swarm, session, condition);
    else
        session_fail(swarm, session, "stream", condition);
}
