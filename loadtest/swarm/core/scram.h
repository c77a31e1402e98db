/* The client's side of SCRAM-SHA-1 and -256 without channel binding (RFC 5802, RFC 7677), and of PLAIN (RFC 4616). */
#pragma once

#include "accounts.h"
#include "xml.h"

#include <openssl/evp.h>

enum {
    DIGEST_BYTES = 32,
    NONCE_BYTES = 24,
    SERVER_FIRST_BYTES = 768,                                   /* of a challenge, decoded */
    SALT_BYTES = 192,                                           /* decoded */
    SASL_BYTES = 4 * (4 * FIELD_BYTES + SERVER_FIRST_BYTES) / 3 /* of any message of ours, in base64 */
};

/* What is derived from a password: RFC 5802 section 9 lets clients keep it. */
struct keys {
    uint8_t of[16]; /* hash of mechanism, password, salt and iterations */
    uint8_t client_key[DIGEST_BYTES], stored_key[DIGEST_BYTES], server_key[DIGEST_BYTES];
};

/* A table that forgets the older of two passwords that fall on one row. */
struct key_cache {
    uint32_t rows; /* a power of 2 */
    struct keys *table;
};

/* One exchange. */
struct scram {
    char nonce[NONCE_BYTES + 1];
    uint8_t server_signature[DIGEST_BYTES];
};

/* Messages in base64 go to `into`, which has room for SASL_BYTES; each returns NULL or what is wrong. */
void plain_message(const char *name, const char *password, char *into);
const char *scram_begin(struct scram *scram, const char *name, char *into);
const char *scram_answer(struct scram *scram, const EVP_MD *digest, struct key_cache *cache, const char *name,
                         const char *password, struct slice challenge, char *into);
/* Whether the server has shown that it knows the password, too. */
const char *scram_verify(const struct scram *scram, const EVP_MD *digest, struct slice success);
