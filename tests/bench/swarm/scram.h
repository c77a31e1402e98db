/* The client's side of SASL: PLAIN, and SCRAM-SHA-1 or SCRAM-SHA-256 (RFC 5802, RFC 7677) without channel binding. The
   server's signature is not looked at: that is the client's work, which is not measured. */
#pragma once

#include "xmpp.h"

#include <openssl/evp.h>
#include <openssl/hmac.h>
#include <openssl/rand.h>

enum { NONCE_BYTES = 24, BARE_BYTES = 128, SALT_BYTES = 64, DIGEST_BYTES = 32 };

static const EVP_MD *scram_digest; /* the mechanism's hash */

/* What an account's client keeps so that it need not derive them anew at each login, as RFC 5802 section 9 allows. */
struct keys {
    int iterations; /* of what is kept; 0: nothing yet */
    char salt[2 * SALT_BYTES];
    uint8_t client_key[DIGEST_BYTES], stored_key[DIGEST_BYTES];
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
    uint8_t raw[2 * SALT_BYTES], salted[DIGEST_BYTES];
    unsigned size = EVP_MD_get_size(scram_digest);
    int length = decode64(salt, strlen(salt), raw);
    PKCS5_PBKDF2_HMAC(password, strlen(password), raw, length, iterations, scram_digest, size, salted);
    HMAC(scram_digest, salted, size, (const uint8_t *)"Client Key", 10, keys->client_key, &size);
    EVP_Digest(keys->client_key, size, keys->stored_key, &size, scram_digest, NULL);
    strcpy(keys->salt, salt);
    keys->iterations = iterations;
}

/* The keys of an account whose server names this salt. Accounts that were all made at once may share salt and password:
   then they share the work, too. */
static void renew_keys(struct keys *keys, const char *password, const char *salt, int iterations) {
    static struct keys newest;
    if (keys->iterations == iterations && strcmp(keys->salt, salt) == 0) return;
    if (newest.iterations != iterations || strcmp(newest.salt, salt) != 0)
        derive_keys(&newest, password, salt, iterations);
    *keys = newest;
}

/* client-final-message in base64, in answer to the server's first message in base64. */
static void scram_answer(struct keys *keys, const char *password, const char *bare, const char *challenge,
                         int challenge_length, char *into) {
    char first[LOGIN_BYTES], nonce[LOGIN_BYTES], salt[2 * SALT_BYTES], message[3 * LOGIN_BYTES], final[2 * LOGIN_BYTES];
    char proof[2 * DIGEST_BYTES];
    uint8_t signature[DIGEST_BYTES];
    int iterations;
    unsigned size = EVP_MD_get_size(scram_digest);
    if (challenge_length >= LOGIN_BYTES) die("a challenge of %d bytes", challenge_length);
    first[decode64(challenge, challenge_length, (uint8_t *)first)] = 0;
    if (sscanf(first, "r=%255[^,],s=%127[^,],i=%d", nonce, salt, &iterations) != 3) die("bad challenge: %s", first);
    renew_keys(keys, password, salt, iterations);
    int length = snprintf(message, sizeof message, "%s,%s,c=biws,r=%s", bare, first, nonce);
    HMAC(scram_digest, keys->stored_key, size, (const uint8_t *)message, length, signature, &size);
    for (unsigned i = 0; i < size; i++) signature[i] ^= keys->client_key[i];
    encode64(signature, size, proof);
    length = snprintf(final, sizeof final, "c=biws,r=%s,p=%s", nonce, proof);
    encode64(final, length, into);
}
