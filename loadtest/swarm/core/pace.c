/* Paces: what is due, one by one, evenly spread over time. */
#include "swarm.h"

enum { SECOND_NS = 1000000000 };

static uint64_t interval_ns(const struct pace *pace) {
    uint64_t interval = SECOND_NS / pace->per_second;
    return interval > 0 ? interval : 1;
}

void pace_set(struct pace *pace, double per_second, uint64_t now_ns) {
    bool was_running = pace->per_second > 0;
    if (per_second == pace->per_second) return;
    pace->per_second = per_second;
    if (per_second <= 0) return;
    uint64_t next_ns = now_ns + interval_ns(pace);
    /* What changes all the time is not put off all the time. */
    if (!was_running || next_ns < pace->next_ns) pace->next_ns = next_ns;
}

uint64_t pace_take(struct pace *pace, uint64_t now_ns, uint64_t *missed) {
    if (pace->per_second <= 0 || pace->next_ns > now_ns) return 0;
    uint64_t interval = interval_ns(pace), late = now_ns - pace->next_ns;
    if (late > SECOND_NS) {
        uint64_t given_up = (late - SECOND_NS) / interval + 1;
        pace->next_ns += given_up * interval;
        *missed += given_up;
    }
    uint64_t due = pace->next_ns;
    pace->next_ns += interval;
    return due;
}

uint64_t pace_due(const struct pace *pace) { return pace->per_second > 0 ? pace->next_ns : UINT64_MAX; }
