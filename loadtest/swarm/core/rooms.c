/* Rooms (XEP-0045): filling them with occupants of ours, a bounded number at a time, and knowing who is where. */
#include "swarm.h"

#include <stdlib.h>
#include <string.h>

enum { LOOKED_AT_PER_TURN = 256, PAUSE_MS = 100, FIRST_PAUSE_MS = 250, DOUBLINGS = 8 };

static bool lacks_occupants(const struct swarm *swarm, const struct room *room) {
    return room->inside + room->coming < swarm->occupants_wanted;
}

static void leave_occupants(struct swarm *swarm, struct session *session) {
    uint32_t last = swarm->occupants.numbers[--swarm->occupants.count];
    swarm->occupants.numbers[session->occupant] = last;
    swarm->sessions[last].occupant = session->occupant;
    session->occupant = NOBODY;
}

void rooms_forget(struct swarm *swarm, struct session *session) {
    if (session->room == NOBODY) return;
    struct room *room = &swarm->rooms[session->room];
    if (session->occupant != NOBODY) {
        leave_occupants(swarm, session);
        room->inside--;
    } else {
        room->coming--;
        swarm->entering--;
    }
    if (lacks_occupants(swarm, room)) swarm->free_places++;
    session->room = NOBODY;
    session->entering = false;
}

/* --- entering --- */

/* Who enters an empty room makes it and unlocks it (XEP-0045 section 10.1.2): till then others are refused. */
static bool takes_guests(const struct swarm *swarm, const struct room *room) {
    bool is_locked = room->inside == 0 && room->coming > 0;
    return lacks_occupants(swarm, room) && !is_locked && room->again_ms <= since_began_ms(swarm);
}

static struct room *next_room_with_place(struct swarm *swarm) {
    for (int i = 0; i < LOOKED_AT_PER_TURN; i++, swarm->looked_at++) {
        struct room *room = &swarm->rooms[swarm->next_room++ % swarm->room_count];
        if (takes_guests(swarm, room)) return room;
    }
    return NULL;
}

static struct session *next_guest(struct swarm *swarm) {
    for (int i = 0; i < LOOKED_AT_PER_TURN && swarm->begun > 0; i++, swarm->looked_at++) {
        struct session *session = &swarm->sessions[swarm->next_guest++ % swarm->begun];
        if (session->state == OPEN && session->behaviour == REGULAR && session->room == NOBODY && !session->pinging)
            return session;
    }
    return NULL;
}

static void enter(struct swarm *swarm, struct session *session, struct room *room) {
    if (!say(
            swarm, session,
            "<presence to='%s/%s%u'><x xmlns='http://jabber.org/protocol/muc'><history maxstanzas='0'/></x></presence>",
            room->jid, swarm->nick, number_of(swarm, session)))
        return;
    session->room = room - swarm->rooms;
    session->entering = true;
    session->asked_ms = since_began_ms(swarm);
    room->coming++;
    swarm->entering++;
    swarm->free_places--;
    timer_set(swarm, session, swarm->settings.login_timeout_seconds);
}

static bool may_enter(const struct swarm *swarm) { return swarm->free_places > 0 && swarm->entering < swarm->at_once; }

void rooms_turn(struct swarm *swarm) {
    while (may_enter(swarm) && since_began_ms(swarm) >= swarm->look_again_ms) {
        struct room *room = next_room_with_place(swarm);
        struct session *guest = room == NULL ? NULL : next_guest(swarm);
        if (guest != NULL) {
            enter(swarm, guest, room);
            swarm->looked_at = 0;
        } else if (swarm->looked_at > swarm->room_count + swarm->begun) {
            swarm->look_again_ms = since_began_ms(swarm) + PAUSE_MS;
            swarm->looked_at = 0;
        } else {
            return; /* the rest in the next turn */
        }
    }
}

uint64_t rooms_due(const struct swarm *swarm) {
    return may_enter(swarm) ? swarm->began_ns + (uint64_t)swarm->look_again_ms * 1000000 : UINT64_MAX;
}

/* --- what the room says --- */

bool rooms_is_ours(const struct swarm *swarm, const struct session *session, struct slice from) {
    if (session->room == NOBODY) return false;
    const char *jid = swarm->rooms[session->room].jid;
    size_t length = strlen(jid);
    return from.length >= length && memcmp(from.at, jid, length) == 0 &&
           (from.length == length || from.at[length] == '/');
}

void rooms_entered(struct swarm *swarm, struct session *session, bool is_new) {
    if (!session->entering) return;
    struct room *room = &swarm->rooms[session->room];
    session->entering = false;
    timer_stop(swarm, session);
    room->coming--;
    room->inside++;
    room->refusals = 0;
    swarm->entering--;
    swarm->counters.room_joins++;
    list_add(&swarm->occupants, number_of(swarm, session), &session->occupant);
    histogram_note(&swarm->histograms[JOIN_TIME], (uint64_t)(since_began_ms(swarm) - session->asked_ms) * 1000000);
    if (is_new)
        say(swarm, session,
            "<iq to='%s' type='set' id='o'><query xmlns='http://jabber.org/protocol/muc#owner'>"
            "<x xmlns='jabber:x:data' type='submit'/></query></iq>",
            room->jid);
}

void rooms_refused(struct swarm *swarm, struct session *session, const char *why) {
    struct room *room = &swarm->rooms[session->room];
    reasons_note(&swarm->reasons, "room", why);
    room->again_ms =
        since_began_ms(swarm) + (FIRST_PAUSE_MS << (room->refusals < DOUBLINGS ? room->refusals : DOUBLINGS));
    room->refusals++;
    if (session->entering) timer_stop(swarm, session);
    rooms_forget(swarm, session);
}

/* --- the list of rooms --- */

static void free_rooms(struct room *rooms, uint32_t count) {
    for (uint32_t i = 0; i < count; i++) free(rooms[i].jid);
    free(rooms);
}

void rooms_free(struct swarm *swarm) {
    free_rooms(swarm->rooms, swarm->room_count);
    swarm->rooms = NULL;
    swarm->room_count = 0;
}

static uint32_t position(char **jids, uint32_t count, const char *jid) {
    uint32_t i = 0;
    while (i < count && strcmp(jids[i], jid) != 0) i++;
    return i < count ? i : NOBODY;
}

static void leave(struct swarm *swarm, struct session *session) {
    say(swarm, session, "<presence to='%s/%s%u' type='unavailable'/>", swarm->rooms[session->room].jid, swarm->nick,
        number_of(swarm, session));
    if (session->entering) timer_stop(swarm, session);
    rooms_forget(swarm, session);
}

bool rooms_take(struct swarm *swarm, char **jids, uint32_t count, uint32_t occupants) {
    struct room *rooms = calloc(count + 1, sizeof *rooms);
    uint32_t *moved = malloc((swarm->room_count + 1) * sizeof *moved);
    bool enough = rooms != NULL && moved != NULL;
    for (uint32_t i = 0; enough && i < count; i++) enough = (rooms[i].jid = strdup(jids[i])) != NULL;
    if (!enough) {
        if (rooms != NULL) free_rooms(rooms, count);
        free(moved);
        return false;
    }
    for (uint32_t i = 0; i < swarm->room_count; i++) moved[i] = position(jids, count, swarm->rooms[i].jid);
    for (uint32_t i = 0; i < swarm->begun; i++) {
        struct session *session = &swarm->sessions[i];
        if (session->room == NOBODY || moved[session->room] != NOBODY) continue;
        leave(swarm, session);
    }
    for (uint32_t i = 0; i < swarm->begun; i++) {
        struct session *session = &swarm->sessions[i];
        if (session->room == NOBODY) continue;
        session->room = moved[session->room];
        session->entering ? rooms[session->room].coming++ : rooms[session->room].inside++;
    }
    rooms_free(swarm);
    free(moved);
    swarm->rooms = rooms;
    swarm->room_count = count;
    swarm->occupants_wanted = occupants;
    swarm->free_places = swarm->looked_at = swarm->look_again_ms = 0;
    for (uint32_t i = 0; i < count; i++)
        if (lacks_occupants(swarm, &rooms[i])) swarm->free_places += occupants - rooms[i].inside - rooms[i].coming;
    return true;
}
