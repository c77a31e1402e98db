/* Fixed pairs: each session talks to one partner, in numbered messages: none may be missing, doubled or early. */
#include "swarm.h"

#include <stdlib.h>

bool pairs_begin(struct swarm *swarm) {
    if (swarm->pairs == NULL) swarm->pairs = calloc(swarm->limit, sizeof *swarm->pairs);
    return swarm->pairs != NULL;
}

bool pairs_have_talked(const struct swarm *swarm) {
    for (uint32_t i = 0; swarm->pairs != NULL && i < swarm->begun; i++)
        if (swarm->pairs[i].said > 0) return true;
    return false;
}

/* A session's partner is the peer in the place that the session itself has here. */
const char *pairs_partner(const struct swarm *swarm, const struct session *session) {
    uint32_t place = number_of(swarm, session);
    return place < swarm->peers.count ? swarm->peers.text + swarm->peers.offsets[place] : NULL;
}

void pairs_hear(struct swarm *swarm, const struct session *session, uint32_t number, uint64_t took_ns) {
    struct pair *pair = &swarm->pairs[number_of(swarm, session)];
    struct counters *counters = &swarm->counters;
    uint32_t missing;
    switch (pair_hear(pair, number, &missing)) {
    case HEARD_NEXT:
        counters->chat_missed += missing;
        break;
    case HEARD_LATE:
        counters->chat_missed--;
        counters->chat_reordered++;
        break;
    case HEARD_AGAIN:
        counters->chat_repeated++;
    }
    uint64_t us = took_ns / 1000;
    uint32_t longest = us < 1 ? 1 : us > UINT32_MAX ? UINT32_MAX : us;
    if (longest > pair->longest_us) pair->longest_us = longest;
}

void pairs_take_longest(struct swarm *swarm, struct histogram *into) {
    for (uint32_t i = 0; swarm->pairs != NULL && i < swarm->begun; i++) {
        struct pair *pair = &swarm->pairs[i];
        if (pair->longest_us > 0) histogram_note(into, (uint64_t)pair->longest_us * 1000);
        pair->longest_us = 0;
    }
}
