/* TLS 1.3 records of a client behind its handshake: a few hundred bytes instead of OpenSSL's connection object.

   Whose records they are is for the engine to say; while `begin` is NULL there are none. */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

enum {
    RECORDS_OPEN_ROOM = 16385, /* that `open` needs */
    RECORDS_SEAL_ROOM = 16433, /* that `seal` needs */
    RECORDS_CLOSED = -1,       /* the server has said close_notify */
    RECORDS_BROKEN = -2
};

struct record_layer {
    /* `suite` as in TLS; application traffic secrets of 32 or 48 bytes. NULL: it cannot. */
    void *(*begin)(uint16_t suite, const uint8_t *incoming_secret, const uint8_t *outgoing_secret);
    void (*end)(void *records);
    /* Takes from `*at`, which has `*length` bytes, and moves both on. Bytes put into `into`; 0: wants more; how it ended. */
    ssize_t (*open)(void *records, const uint8_t **at, size_t *length, uint8_t *into, size_t room);
    /* Puts a record of up to 16,384 bytes into `into`; the bytes taken, or how it ended. */
    ssize_t (*seal)(void *records, const char *data, size_t length, uint8_t *into, size_t room, size_t *written);
    /* The bytes of the last word. */
    size_t (*close)(void *records, uint8_t *into, size_t room);
};

extern struct record_layer record_layer;
