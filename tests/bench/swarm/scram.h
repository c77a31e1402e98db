/* The client's side of SASL: PLAIN and SCRAM-SHA-1 (RFC 5802), without channel binding. The server's signature is not
   looked at: that is the client's work, which is not measured. */
#pragma once

#include "xmpp.h"

#include <openssl/evp.h>
#include <openssl/hmac.h>
#include <openssl/rand.h>
#include <openssl/sha.h>

enum { NONCE_BYTES = 24, BARE_BYTES = 128, SALT_BYTES = 64 };

/* All accounts of a benchmark have the same password and salt, so the keys are derived once: a phone keeps its own too. */
struct keys {
    int iterations; /* of what is kept; 0: nothing yet */
    char salt[2 * SALT_BYTES];
    uint8_t client_key[SHA_DIGEST_LENGTH], stored_key[SHA_DIGEST_LENGTH];
};

/* Text and length of `data` in base64; `into` has room for 4 bytes to every 3, and a zero. */
static int encode64(const void *data, int length, char *into) { return EVP_EncodeBlock((uint8_t *)into, data, length); }

/* Bytes of base64 text; `into` has room for 3 bytes to every 4. */
static int decode64(const char *text, int length, uint8_t *into) {
    int padding = (length > 0 && text[length - 1] == '=') + (length > 1 && text[length - 2] == '=');
    int bytes = EVP_DecodeBlock(into, (const uint8_t *)text, length);
    if (bytes < 0) die("not base64: %.*s", length, text);
    return bytes - padding;
}

static int plain_message(const char *user, const char *password, char *into) {
    char message[2 * BARE_BYTES];
    int length = snprintf(message, sizeof message, "%c%s%c%s", 0, user, 0, password);
    return encode64(message, length, into);
}

/* client-first-message-bare with a new nonce. */
static void scram_begin(const char *user, char bare[BARE_BYTES]) {
    uint8_t random[NONCE_BYTES * 3 / 4];
    char nonce[NONCE_BYTES + 1];
    RAND_bytes(random, sizeof random);
    encode64(random, sizeof random, nonce);
    snprintf(bare, BARE_BYTES, "n=%s,r=%s", user, nonce);
}

static void derive_keys(struct keys *keys, const char *password, const char *salt, int iterations) {
    uint8_t raw[2 * SALT_BYTES], salted[SHA_DIGEST_LENGTH];
    unsigned size;
    int length = decode64(salt, strlen(salt), raw);
    PKCS5_PBKDF2_HMAC_SHA1(password, strlen(password), raw, length, iterations, sizeof salted, salted);
    HMAC(EVP_sha1(), salted, sizeof salted, (const uint8_t *)"Client Key", 10, keys->client_key, &size);
    SHA1(keys->client_key, SHA_DIGEST_LENGTH, keys->stored_key);
    strcpy(keys->salt, salt);
    keys->iterations = iterations;
}

/* client-final-message in base64, in answer to the server's first message in base64. */
static void scram_answer(struct keys *keys, const char *password, const char *bare, const char *challenge,
                         int challenge_length, char *into) {
    char first[LOGIN_BYTES], nonce[LOGIN_BYTES], salt[2 * SALT_BYTES], message[3 * LOGIN_BYTES], final[2 * LOGIN_BYTES];
    char proof[2 * SHA_DIGEST_LENGTH];
    uint8_t signature[SHA_DIGEST_LENGTH];
    int iterations;
    unsigned size;
    if (challenge_length >= LOGIN_BYTES) die("a challenge of %d bytes", challenge_length);
    first[decode64(challenge, challenge_length, (uint8_t *)first)] = 0;
    if (sscanf(first, "r=%255[^,],s=%127[^,],i=%d", nonce, salt, &iterations) != 3) die("bad challenge: %s", first);
    if (keys->iterations != iterations || strcmp(keys->salt, salt) != 0)
        derive_keys(keys, password, salt, iterations);
    int length = snprintf(message, sizeof message, "%s,%s,c=biws,r=%s", bare, first, nonce);
    HMAC(EVP_sha1(), keys->stored_key, SHA_DIGEST_LENGTH, (const uint8_t *)message, length, signature, &size);
    for (int i = 0; i < SHA_DIGEST_LENGTH; i++) signature[i] ^= keys->client_key[i];
    encode64(signature, SHA_DIGEST_LENGTH, proof);
    length = snprintf(final, sizeof final, "c=biws,r=%s,p=%s", nonce, proof);
    encode64(final, length, into);
}
