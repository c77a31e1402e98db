/* Looking up an account. */
#include "accounts.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

const char *account(const struct accounts *accounts, uint32_t number, char *name) {
    number %= accounts->count;
    if (accounts->offsets == NULL) {
        snprintf(name, FIELD_BYTES, "%s%u", accounts->prefix, accounts->first + number);
        return accounts->password;
    }
    const char *found = accounts->listed + accounts->offsets[number];
    snprintf(name, FIELD_BYTES, "%s", found);
    return found + strlen(found) + 1;
}

void accounts_free(struct accounts *accounts) {
    free(accounts->prefix);
    free(accounts->password);
    free(accounts->listed);
    free(accounts->offsets);
    *accounts = (struct accounts){0};
}
