/* Counting of failures by reason. */
#include "reasons.h"

#include <stdio.h>
#include <string.h>

void reasons_note(struct reasons *reasons, const char *where, const char *what) {
    char text[REASON_BYTES];
    snprintf(text, sizeof text, "%s:%s", where, what);
    int index = 0;
    while (index < reasons->known && strcmp(reasons->table[index].text, text) != 0) index++;
    if (index == REASONS - 1) strcpy(text, "other");
    if (index == reasons->known && index < REASONS) strcpy(reasons->table[reasons->known++].text, text);
    reasons->table[index].count++;
}
