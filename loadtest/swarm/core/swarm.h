/* A swarm and its sessions: the state that all of this directory works on, and what each part offers the others.

   turn.c        the loop: what is ready, what is due
   pace.c        how many of something are due by now
   timer.c       one deadline per session
   connection.c  bytes from and to one socket
   tls.c         OpenSSL
   records.c     TLS 1.3 without OpenSSL's connection object, behind the handshake
   session.c     a session's life: connect, open, leave, lost, back again
   stream.c      elements out of bytes
   login.c       from the stream header to the bound resource
   talk.c        what open sessions say
   hear.c        what open sessions are told
   pairs.c       who always talks to whom, and what of it is missing
   rooms.c       who is in which room
   hostile.c     bad input, and the right answers to it */
#pragma once

#include "accounts.h"
#include "histogram.h"
#include "pairs.h"
#include "peers.h"
#include "reasons.h"
#include "records.h"
#include "scram.h"
#include "xml.h"

#include <netinet/in.h>
#include <openssl/ssl.h>
#include <stdbool.h>
#include <stdint.h>
#include <sys/socket.h>

enum {
    EVENTS = 256,
    READ_BYTES = 65536,
    KEPT_LIMIT = 65536,   /* of an element that is not complete; longer ones are not looked into */
    OUTPUT_LIMIT = 65536, /* of what the server has not taken */
    SAY_BYTES = 20480,
    CONDITION_BYTES = 56,
    WHEEL_SLOTS = 4096,
    TICK_MS = 16,
    SOURCE_ATTEMPTS = 16,
    STARTS_PER_TURN = 256,
    SAID_PER_TURN = 1024,
    NOBODY = UINT32_MAX
};

enum behaviour { REGULAR, SLOW, HALF_OPEN, SILENT, HOSTILE, BEHAVIOURS };

enum state {
    UNUSED,
    RESTING, /* lost; comes back when its back-off is over */
    QUEUED,  /* comes back as soon as it may */
    CONNECTING,
    SECURING, /* TLS handshake */
    LOGGING_IN,
    OPEN,
    CLOSING, /* has said </stream:stream> */
    STATES
};

/* Parts of what sessions say; HEADER takes the domain. */
#define HEADER                                                                                                         \
    "<?xml version='1.0'?><stream:stream xmlns='jabber:client' xmlns:stream='http://etherx.jabber.org/streams' "       \
    "to='%s' version='1.0'>"
#define BIND_REQUEST "<iq type='set' id='b'><bind xmlns='urn:ietf:params:xml:ns:xmpp-bind'/></iq>"
#define PRESENCE "<presence/>"

enum step { FEATURES, PROCEED, SASL, BIND, SESSION };

enum keep_alive { NO_KEEP_ALIVE, SPACE, PING };

enum mechanism { ANONYMOUS, PLAIN, SCRAM_SHA_1, SCRAM_SHA_256 };

enum moment {
    AT_HEADER,
    AT_FEATURES,
    AT_OPEN
}; /* of a hostile session: instead of its header, of SASL, or as a stanza */

enum security { NO_TLS, STARTTLS, DIRECT_TLS };

/* Bytes that wait: of an element that is not complete, or for a server that does not read. */
struct bytes {
    uint32_t length, room;
    char data[];
};

struct login { /* only while a session logs in */
    uint64_t began_ns;
    struct scram scram;
};

struct session {
    int fd;
    uint32_t serial; /* differs between two connections in the same place */
    uint32_t account;
    uint32_t place;               /* in the list of open sessions that behave alike */
    uint32_t room;                /* in the list of rooms, or NOBODY */
    uint32_t occupant;            /* place in the list of occupants, or NOBODY while entering */
    uint32_t next, previous, due; /* in the wheel of deadlines, or in the queue; due is 0 outside the wheel */
    uint32_t asked_ms;            /* when the ping under way was sent, or when it began to leave or enter */
    uint16_t input;               /* which bad input a hostile one sends */
    uint8_t state, step, behaviour, setbacks;
    bool secured : 1, authenticated : 1, session_needed : 1, skipping : 1, pinging : 1, entering : 1, away : 1,
        waits_for_answer : 1, pipelined : 1;
    struct scanner scanner;
    struct login *login;
    struct bytes *kept, *output;
    SSL *ssl;
    void *records; /* instead of `ssl`, behind the handshake: then `output` is ciphertext */
    char *jid; /* full JID, fit to stand between apostrophes */
};

struct list { /* of the numbers of sessions, in no order */
    uint32_t count;
    uint32_t *numbers;
};

struct room {
    char *jid;
    uint32_t inside, coming;
    uint32_t again_ms; /* after a refusal: not before */
    uint32_t refusals; /* since somebody entered */
};

/* How fast something happens. */
struct pace {
    double per_second; /* 0: never */
    uint64_t next_ns;
};

struct settings {
    bool presence, pipeline, reconnect, pairs;
    int keep_alive, body_bytes, slow_bytes_per_second;
    double keep_alive_seconds, ping_timeout_seconds, chat_per_second, room_per_second, presence_per_second;
    double slow_messages_per_second, reconnect_seconds, reconnect_limit_seconds, login_timeout_seconds;
    double close_timeout_seconds, hostile_timeout_seconds;
};

/* What happened ever; engine.pyx names them for Python. */
struct counters {
    uint64_t connects, logins, login_failures, reconnects, lost, closed, close_timeouts, aborted;
    uint64_t bytes_in, bytes_out, stanzas_in, stanzas_skipped, stanza_errors;
    uint64_t chat_sent, chat_received, chat_delayed, chat_bounced, chat_unsent;
    uint64_t chat_missed, chat_repeated, chat_reordered;
    uint64_t slow_sent, slow_received;
    uint64_t spaces_sent, pings_sent, pings_answered, pings_heard, presence_sent, presence_received;
    uint64_t room_joins, room_sent, room_received, room_delayed, room_expected, room_bounced;
    uint64_t hostile_sent, hostile_refused, hostile_wrong;
};

enum what { LOGIN_TIME, CHAT_TIME, PING_TIME, ROOM_TIME, JOIN_TIME, CLOSE_TIME, LATENESS, HISTOGRAMS };

struct swarm {
    /* the target */
    struct sockaddr_storage *servers;
    struct sockaddr_storage *sources;
    uint32_t server_count, source_count, next_server, next_source;
    char *domain;
    int security;
    SSL_CTX *tls;
    struct accounts accounts;
    int mechanism;
    struct key_cache keys;

    struct settings settings;

    /* the sessions */
    struct session *sessions;
    uint32_t limit, begun; /* begun: places of the table that were ever used */
    uint32_t *unused, unused_count;
    uint32_t states[STATES]; /* how many sessions are in each */
    uint32_t wanted[BEHAVIOURS], wanted_total;
    uint32_t queue_first, queue_last;
    struct list open[BEHAVIOURS];
    uint32_t next_account, leaver, next_kept_alive, next_input;

    /* pace */
    uint32_t at_once;
    struct pace opening, chatting, saying, showing, keeping_alive, feeding_slow;
    uint32_t wheel[WHEEL_SLOTS], tick;
    uint64_t began_ns, now_ns;
    uint64_t random;

    /* talk */
    struct peers peers;
    struct pair *pairs; /* by place in `sessions`; NULL until there are some */
    uint32_t next_talker;
    struct room *rooms;
    uint32_t room_count, occupants_wanted, next_room, next_guest, free_places, entering, looked_at, look_again_ms;
    struct list occupants;
    char *body;      /* fills bodies up to their size */
    uint64_t number; /* of stanzas of ours */
    char nick[16];   /* how the nicknames of this swarm begin */

    int poller;
    char *buffer; /* READ_BYTES */

    struct counters counters;
    struct reasons reasons;
    struct histogram histograms[HISTOGRAMS];
};

/* --- turn.c --- */
struct swarm *swarm_new(uint32_t limit);
void swarm_free(struct swarm *swarm);
/* Handles what is ready and due; the seconds until something is due. */
double swarm_turn(struct swarm *swarm, int limit);
uint64_t clock_ns(void);
uint32_t since_began_ms(const struct swarm *swarm);
uint32_t random_below(struct swarm *swarm, uint32_t limit);
static inline uint32_t number_of(const struct swarm *swarm, const struct session *session) {
    return session - swarm->sessions;
}

/* --- pace.c --- */
void pace_set(struct pace *pace, double per_second, uint64_t now_ns);
/* When the next one is due if that is by now, and then the one after it is the next; 0: none. `*missed` grows by those
   that are more than a second late: they are given up. */
uint64_t pace_take(struct pace *pace, uint64_t now_ns, uint64_t *missed);
uint64_t pace_due(const struct pace *pace); /* UINT64_MAX: never */

/* --- timer.c --- */
void timer_set(struct swarm *swarm, struct session *session, double seconds);
void timer_stop(struct swarm *swarm, struct session *session);
void timer_turn(struct swarm *swarm);
uint64_t timer_due(const struct swarm *swarm); /* at most some time ahead: when to look again */

/* --- connection.c --- */
bool connection_begin(struct swarm *swarm, struct session *session); /* false: errno says why */
void connection_end(struct session *session, bool reset);
/* More than 0: bytes; 0: nothing now; -1: it has ended, and errno says how (0: in order). */
int connection_read(struct session *session, char *into, int size);
/* Whether the bytes were taken, or kept until the server takes more; otherwise none of them. */
bool connection_write(struct swarm *swarm, struct session *session, const char *data, size_t length);
void connection_flush(struct session *session);
bool bytes_append(struct bytes **bytes, const char *data, size_t length);

/* --- tls.c --- */
/* NULL, or what is wrong. `authorities`: a PEM file, or NULL for those of the system. */
const char *tls_configure(struct swarm *swarm, const char *authorities, bool verify);
/* 1: done; 0: under way; -1: failed, with the reason in `why`. */
int tls_handshake(struct swarm *swarm, struct session *session, char *why, int size);
/* As connection_read. */
int tls_read(SSL *ssl, char *into, int size);
/* How many bytes were taken, or -1. */
int tls_write(SSL *ssl, const char *data, size_t length);

/* --- records.c --- */
/* Behind a handshake: goes on with records alone if it can. */
void records_take_over(struct session *session);
/* As connection_read; `size` is READ_BYTES. */
int records_read(struct session *session, char *into, int size);
/* As connection_write. */
bool records_write(struct session *session, const char *data, size_t length);
/* Says close_notify if `in_order`. */
void records_end(struct session *session, bool in_order);
void records_listen(SSL_CTX *tls);

/* --- session.c --- */
void session_set_state(struct swarm *swarm, struct session *session, enum state state);
/* Whether there is one that has not begun, and not too many that have not ended their login. */
bool sessions_may_begin(const struct swarm *swarm);
void sessions_begin_more(struct swarm *swarm);
void sessions_stop(struct swarm *swarm, uint32_t count, bool reset);
void session_due(struct swarm *swarm, struct session *session);
void session_logged_in(struct swarm *swarm, struct session *session);
void session_leave(struct swarm *swarm, struct session *session);
/* It is over: not as it should be, in order, or for a reason that was counted before. */
void session_fail(struct swarm *swarm, struct session *session, const char *where, const char *what);
void session_gone(struct swarm *swarm, struct session *session);
void session_ended(struct swarm *swarm, struct session *session, int error);
void list_add(struct list *list, uint32_t number, uint32_t *place);

/* --- stream.c --- */
void stream_receive(struct swarm *swarm, struct session *session, bool until_end);
/* A text of at most SAY_BYTES, made as by printf. */
bool say(struct swarm *swarm, struct session *session, const char *format, ...) __attribute__((format(printf, 3, 4)));
/* What comes from now on is a new stream. */
void stream_restart(struct session *session);
void say_header(struct swarm *swarm, struct session *session);
void stream_secure(struct swarm *swarm, struct session *session);

/* --- login.c --- */
void login_hear(struct swarm *swarm, struct session *session, struct slice element);

/* --- hear.c --- */
void hear(struct swarm *swarm, struct session *session, struct slice element);
void hear_stream_error(struct swarm *swarm, struct session *session, struct slice element);

/* --- talk.c --- */
void talk_turn(struct swarm *swarm);
uint64_t talk_due(const struct swarm *swarm);
void talk_paces(struct swarm *swarm);

/* --- pairs.c --- */
bool pairs_begin(struct swarm *swarm); /* false: no memory */
bool pairs_have_talked(const struct swarm *swarm);
const char *pairs_partner(const struct swarm *swarm, const struct session *session); /* NULL: it has none */
void pairs_hear(struct swarm *swarm, const struct session *session, uint32_t number, uint64_t took_ns);
/* Counts the longest delivery of each session that had one since the last call. */
void pairs_take_longest(struct swarm *swarm, struct histogram *into);

/* --- rooms.c --- */
bool rooms_take(struct swarm *swarm, char **jids, uint32_t count, uint32_t occupants);
void rooms_turn(struct swarm *swarm);
uint64_t rooms_due(const struct swarm *swarm); /* UINT64_MAX: nobody has to enter */
/* `from` may be any occupant, or the room. */
bool rooms_is_ours(const struct swarm *swarm, const struct session *session, struct slice from);
void rooms_entered(struct swarm *swarm, struct session *session, bool is_new);
void rooms_refused(struct swarm *swarm, struct session *session, const char *why);
void rooms_forget(struct swarm *swarm, struct session *session);
void rooms_free(struct swarm *swarm);

/* --- hostile.c --- */
/* Sends the input of a hostile session if this is the moment for it; whether it was. */
bool hostile_speaks(struct swarm *swarm, struct session *session, enum moment moment);
/* What comes while a hostile session waits for the answer. */
void hostile_hear(struct swarm *swarm, struct session *session, struct slice element);
/* `what`: the condition of an error, "closed" or "timeout". */
void hostile_answered(struct swarm *swarm, struct session *session, const char *what);
