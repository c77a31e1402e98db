/* What the load generator and the echo server say to each other: one login and one 200-byte stanza. */
#pragma once

#include <errno.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

enum { STANZA_BYTES = 200, LOGIN_BYTES = 1024 };

/* A login as RFC 6120 sections 6 and 7 have it. The server answers when what has come ends with the terminator. */
static const char CLIENT_HEADER[] =
    "<?xml version='1.0'?><stream:stream xmlns='jabber:client' xmlns:stream='http://etherx.jabber.org/streams' "
    "to='bench.example' version='1.0'>";
#define CLIENT_AUTH_TEXT "<auth xmlns='urn:ietf:params:xml:ns:xmpp-sasl' mechanism='PLAIN'>AGp1bGlldAByMG0zMG15cjBtMzA=</auth>"
static const char CLIENT_AUTH[] = CLIENT_AUTH_TEXT;
static const char CLIENT_BIND[] =
    "<iq type='set' id='bind1'><bind xmlns='urn:ietf:params:xml:ns:xmpp-bind'><resource>balcony</resource></bind></iq>";

/* What a stanza need not say on a stream, and a message of a WebSocket does (RFC 7395 section 3.3.3). */
#define CLIENT_SPACE " xmlns='jabber:client'"

#define SERVER_HEADER                                                                                              \
    "<?xml version='1.0'?><stream:stream xmlns='jabber:client' xmlns:stream='http://etherx.jabber.org/streams' " \
    "from='bench.example' id='++TR84Sm6A3hnt3Q065SnAbbk3Y=' xml:lang='en' version='1.0'>"

struct answer {
    const char *terminator; /* the end of what the client says */
    const char *text;
    const char *end; /* the end of the answer, by which the client knows that it is complete */
};

static const struct answer ANSWERS[] = {
    {"version='1.0'>",
     SERVER_HEADER "<stream:features><mechanisms xmlns='urn:ietf:params:xml:ns:xmpp-sasl'>"
                   "<mechanism>PLAIN</mechanism></mechanisms></stream:features>",
     "</stream:features>"},
    {"</auth>", "<success xmlns='urn:ietf:params:xml:ns:xmpp-sasl'/>", "xmpp-sasl'/>"},
    {"version='1.0'>",
     SERVER_HEADER "<stream:features><bind xmlns='urn:ietf:params:xml:ns:xmpp-bind'/></stream:features>",
     "</stream:features>"},
    {"</iq>",
     "<iq type='result' id='bind1'><bind xmlns='urn:ietf:params:xml:ns:xmpp-bind'>"
     "<jid>juliet@bench.example/balcony</jid></bind></iq>",
     "</iq>"},
};

static const char *const REQUESTS[] = {CLIENT_HEADER, CLIENT_AUTH, CLIENT_HEADER, CLIENT_BIND};

enum { LOGIN_STEPS = sizeof ANSWERS / sizeof ANSWERS[0] };

static inline int ends_with(const char *data, size_t length, const char *end) {
    size_t size = strlen(end);
    return length >= size && memcmp(data + length - size, end, size) == 0;
}

static inline uint64_t now_ns(void) {
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (uint64_t)now.tv_sec * 1000000000u + (uint64_t)now.tv_nsec;
}

static inline _Noreturn void die(const char *format, ...) {
    int error = errno;
    va_list arguments;
    va_start(arguments, format);
    vfprintf(stderr, format, arguments);
    va_end(arguments);
    fprintf(stderr, " (errno: %s)\n", strerror(error));
    exit(1);
}
