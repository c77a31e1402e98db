/* The names and passwords of the accounts of a swarm, either generated or as listed. */
#pragma once

#include <stdint.h>

enum { FIELD_BYTES = 1024 };

struct accounts {
    uint32_t count;    /* 0: anonymous */
    uint32_t first;    /* number behind the prefix of account 0 */
    char *prefix;      /* generated accounts have a number behind it */
    char *password;    /* of all generated accounts */
    char *listed;      /* name, 0, password, 0 of each */
    uint32_t *offsets; /* of each in `listed`; NULL: generated */
};

/* The password of an account; its name goes to `name`, which has room for FIELD_BYTES. */
const char *account(const struct accounts *accounts, uint32_t number, char *name);

void accounts_free(struct accounts *accounts);
