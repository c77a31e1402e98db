/* One deadline per session, in a wheel of slots: what it costs does not depend on how many sessions there are.

   A deadline further ahead than the wheel is long is passed over until its turn of the wheel has come. */
#include "swarm.h"

enum { LOOK_AHEAD_TICKS = 64 };

static uint32_t *slot_of(struct swarm *swarm, uint32_t tick) { return &swarm->wheel[tick % WHEEL_SLOTS]; }

void timer_stop(struct swarm *swarm, struct session *session) {
    if (session->due == 0) return;
    if (session->previous == NOBODY)
        *slot_of(swarm, session->due) = session->next;
    else
        swarm->sessions[session->previous].next = session->next;
    if (session->next != NOBODY) swarm->sessions[session->next].previous = session->previous;
    session->due = 0;
}

void timer_set(struct swarm *swarm, struct session *session, double seconds) {
    timer_stop(swarm, session);
    uint32_t number = number_of(swarm, session);
    session->due = since_began_ms(swarm) / TICK_MS + 1 + (uint32_t)(seconds * 1000 / TICK_MS);
    uint32_t *slot = slot_of(swarm, session->due);
    session->previous = NOBODY;
    session->next = *slot;
    if (*slot != NOBODY) swarm->sessions[*slot].previous = number;
    *slot = number;
}

void timer_turn(struct swarm *swarm) {
    uint32_t now = since_began_ms(swarm) / TICK_MS;
    if (now - swarm->tick > WHEEL_SLOTS) swarm->tick = now - WHEEL_SLOTS;
    while (swarm->tick < now) {
        for (uint32_t number = *slot_of(swarm, ++swarm->tick), next; number != NOBODY; number = next) {
            struct session *session = &swarm->sessions[number];
            next = session->next;
            if (session->due > now) continue;
            timer_stop(swarm, session);
            session_due(swarm, session);
        }
    }
}

uint64_t timer_due(const struct swarm *swarm) {
    uint32_t tick = swarm->tick + 1, last = swarm->tick + LOOK_AHEAD_TICKS;
    while (tick < last && swarm->wheel[tick % WHEEL_SLOTS] == NOBODY) tick++;
    return swarm->began_ns + (uint64_t)tick * TICK_MS * 1000000;
}
