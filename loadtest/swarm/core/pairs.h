/* One pair of sessions as its ends know it: whether each message came once and in its order, and the latest of them. */
#pragma once

#include <stdint.h>

enum { PAIR_WINDOW = 32 };

/* Of a place in the table of sessions: as the one who talks to its partner, and as somebody else's partner. */
struct pair {
    uint32_t said;       /* the number of the last message to the partner */
    uint32_t heard;      /* the highest number that came */
    uint32_t before;     /* bit n: the message of `heard` - 1 - n has come, too */
    uint32_t longest_us; /* the longest delivery since somebody asked; 0: there was none */
};

enum heard { HEARD_NEXT, HEARD_LATE, HEARD_AGAIN };

/* Takes in a message's number, from 1 on. HEARD_NEXT: it is beyond all that came, and `*missing` of those between have
   not come yet; HEARD_LATE: one of these; HEARD_AGAIN: it came before, or is more than PAIR_WINDOW behind. */
static inline enum heard pair_hear(struct pair *pair, uint32_t number, uint32_t *missing) {
    *missing = 0;
    if (number > pair->heard) {
        uint32_t ahead = number - pair->heard;
        *missing = ahead - 1;
        pair->before = ahead < PAIR_WINDOW ? pair->before << ahead : 0;
        if (ahead <= PAIR_WINDOW) pair->before |= 1u << (ahead - 1);
        pair->heard = number;
        return HEARD_NEXT;
    }
    uint32_t behind = pair->heard - number;
    if (behind == 0 || behind > PAIR_WINDOW || pair->before & 1u << (behind - 1)) return HEARD_AGAIN;
    pair->before |= 1u << (behind - 1);
    return HEARD_LATE;
}
