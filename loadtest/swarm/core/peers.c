/* The set of JIDs to chat to. */
#include "peers.h"

#include <stdlib.h>
#include <string.h>

void peers_free(struct peers *peers) {
    free(peers->text);
    free(peers->offsets);
    *peers = (struct peers){0};
}

bool peers_take(struct peers *peers, const char *lines, size_t length) {
    size_t room = 1;
    for (size_t i = 0; i < length; i++) room += lines[i] == '\n';
    struct peers taken = {.text = malloc(length + 1), .offsets = malloc(room * sizeof *taken.offsets)};
    if (taken.text == NULL || taken.offsets == NULL) {
        peers_free(&taken);
        return false;
    }
    memcpy(taken.text, lines, length);
    taken.text[length] = 0;
    char *end = taken.text + length;
    for (char *at = taken.text; at < end;) {
        char *stop = memchr(at, '\n', end - at);
        if (stop == NULL) stop = end;
        *stop = 0;
        if (stop > at) taken.offsets[taken.count++] = at - taken.text;
        at = stop + 1;
    }
    peers_free(peers);
    *peers = taken;
    return true;
}
