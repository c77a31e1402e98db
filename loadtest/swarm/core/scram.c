/* SASL exchanges. */
#include "scram.h"

#include <openssl/crypto.h>
#include <openssl/hmac.h>
#include <openssl/rand.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { BARE_BYTES = 3 * FIELD_BYTES + NONCE_BYTES + 8, ITERATIONS_LIMIT = 10000000 };

static int encode64(const void *data, int length, char *into) { return EVP_EncodeBlock((uint8_t *)into, data, length); }

/* Bytes of base64 text, or -1; `into` has room for `size`. */
static int decode64(struct slice text, uint8_t *into, size_t size) {
    if (text.length % 4 != 0 || text.length / 4 * 3 > size) return -1;
    int padding =
        (text.length > 0 && text.at[text.length - 1] == '=') + (text.length > 1 && text.at[text.length - 2] == '=');
    int bytes = EVP_DecodeBlock(into, (const uint8_t *)text.at, text.length);
    return bytes < padding ? -1 : bytes - padding;
}

void plain_message(const char *name, const char *password, char *into) {
    char message[2 * FIELD_BYTES + 2];
    int length = snprintf(message, sizeof message, "%c%s%c%s", 0, name, 0, password);
    encode64(message, length, into);
}

/* client-first-message-bare; '=' and ',' in names are escaped (RFC 5802 section 5.1). */
static int make_bare(const struct scram *scram, const char *name, char *into) {
    char *at = into;
    at += sprintf(at, "n=");
    for (; *name != 0; name++) {
        if (*name == '=' || *name == ',')
            at += sprintf(at, *name == '=' ? "=3D" : "=2C");
        else
            *at++ = *name;
    }
    at += sprintf(at, ",r=%s", scram->nonce);
    return at - into;
}

const char *scram_begin(struct scram *scram, const char *name, char *into) {
    uint8_t random[NONCE_BYTES / 4 * 3];
    char first[BARE_BYTES + 3] = "n,,";
    if (RAND_bytes(random, sizeof random) != 1) return "no-random-bytes";
    encode64(random, sizeof random, scram->nonce);
    encode64(first, 3 + make_bare(scram, name, first + 3), into);
    return NULL;
}

/* --- keys --- */

static void hmac(const EVP_MD *digest, const uint8_t *key, const void *data, int length, uint8_t *into) {
    unsigned size = EVP_MD_get_size(digest);
    HMAC(digest, key, size, data, length, into, &size);
}

static void derive(struct keys *keys, const EVP_MD *digest, const char *password, const uint8_t *salt, int salt_length,
                   int iterations) {
    uint8_t salted[DIGEST_BYTES];
    unsigned size = EVP_MD_get_size(digest);
    PKCS5_PBKDF2_HMAC(password, strlen(password), salt, salt_length, iterations, digest, size, salted);
    hmac(digest, salted, "Client Key", 10, keys->client_key);
    hmac(digest, salted, "Server Key", 10, keys->server_key);
    EVP_Digest(keys->client_key, size, keys->stored_key, &size, digest, NULL);
}

static struct keys *keys_for(struct key_cache *cache, const EVP_MD *digest, const char *password, const uint8_t *salt,
                             int salt_length, int iterations) {
    uint8_t said[FIELD_BYTES + SALT_BYTES + 32], hash[DIGEST_BYTES];
    int length = snprintf((char *)said, sizeof said, "%d.%d.%s", EVP_MD_get_size(digest), iterations, password) + 1;
    memcpy(said + length, salt, salt_length);
    EVP_Digest(said, length + salt_length, hash, NULL, EVP_sha256(), NULL);
    uint32_t row;
    memcpy(&row, hash, sizeof row);
    struct keys *keys = &cache->table[row & (cache->rows - 1)];
    if (memcmp(keys->of, hash, sizeof keys->of) != 0) {
        derive(keys, digest, password, salt, salt_length, iterations);
        memcpy(keys->of, hash, sizeof keys->of);
    }
    return keys;
}

/* --- the answer --- */

/* The value of `name=value,` in a SCRAM message; an empty slice if it is not there. */
static struct slice field(const char *message, char name) {
    for (const char *at = message; at != NULL; at = strchr(at, ',')) {
        at += *at == ',';
        if (at[0] == name && at[1] == '=') return (struct slice){at + 2, strcspn(at + 2, ",")};
    }
    return (struct slice){message, 0};
}

const char *scram_answer(struct scram *scram, const EVP_MD *digest, struct key_cache *cache, const char *name,
                         const char *password, struct slice challenge, char *into) {
    char first[SERVER_FIRST_BYTES + 1], message[BARE_BYTES + 3 * SERVER_FIRST_BYTES], final[2 * SERVER_FIRST_BYTES];
    uint8_t salt[SALT_BYTES], signature[DIGEST_BYTES], proof[DIGEST_BYTES];
    char proof64[2 * DIGEST_BYTES];
    int first_length = decode64(challenge, (uint8_t *)first, SERVER_FIRST_BYTES);
    if (first_length < 0) return "challenge-not-base64";
    first[first_length] = 0;
    struct slice nonce = field(first, 'r'), salt64 = field(first, 's'), count = field(first, 'i');
    int salt_length = decode64(salt64, salt, sizeof salt), iterations = atoi(count.at);
    if (nonce.length < NONCE_BYTES || memcmp(nonce.at, scram->nonce, NONCE_BYTES) != 0) return "nonce-not-ours";
    if (salt_length < 1 || count.length == 0 || iterations < 1 || iterations > ITERATIONS_LIMIT) return "bad-challenge";
    const struct keys *keys = keys_for(cache, digest, password, salt, salt_length, iterations);
    int length = make_bare(scram, name, message);
    int final_length = sprintf(final, "c=biws,r=%.*s", (int)nonce.length, nonce.at), size = EVP_MD_get_size(digest);
    length += sprintf(message + length, ",%s,%s", first, final);
    hmac(digest, keys->stored_key, message, length, signature);
    hmac(digest, keys->server_key, message, length, scram->server_signature);
    for (int i = 0; i < size; i++) proof[i] = signature[i] ^ keys->client_key[i];
    encode64(proof, size, proof64);
    final_length += sprintf(final + final_length, ",p=%s", proof64);
    encode64(final, final_length, into);
    return NULL;
}

const char *scram_verify(const struct scram *scram, const EVP_MD *digest, struct slice success) {
    char final[SERVER_FIRST_BYTES + 1];
    uint8_t signature[SALT_BYTES];
    int length = decode64(success, (uint8_t *)final, SERVER_FIRST_BYTES);
    if (length < 0) return "signature-not-base64";
    final[length] = 0;
    int bytes = decode64(field(final, 'v'), signature, sizeof signature), size = EVP_MD_get_size(digest);
    return bytes == size && CRYPTO_memcmp(signature, scram->server_signature, size) == 0 ? NULL : "server-signature";
}
