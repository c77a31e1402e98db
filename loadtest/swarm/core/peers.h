/* Full JIDs that sessions chat to, packed: one piece of text and where each begins in it. */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct peers {
    uint32_t count;
    char *text; /* each ends with 0 */
    uint32_t *offsets;
};

/* Takes one JID a line in the place of what is there; false: no memory. */
bool peers_take(struct peers *peers, const char *lines, size_t length);
void peers_free(struct peers *peers);
