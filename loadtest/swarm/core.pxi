# The declarations of core/swarm.h that the engine uses. Structures are turned from and into dictionaries by name.

cdef extern from "<netinet/in.h>" nogil:
    struct sockaddr_storage:
        pass
    struct in_addr:
        pass
    struct in6_addr:
        pass
    struct sockaddr_in:
        uint16_t sin_family
        uint16_t sin_port
        in_addr sin_addr
    struct sockaddr_in6:
        uint16_t sin6_family
        uint16_t sin6_port
        in6_addr sin6_addr
    uint16_t htons(uint16_t port)
    enum:
        AF_INET
        AF_INET6

cdef extern from "<openssl/ssl.h>" nogil:
    ctypedef struct SSL_CTX:
        pass
    int SSL_CTX_set_max_proto_version(SSL_CTX* context, int version)
    int TLS1_2_VERSION

cdef extern from "core/records.h" nogil:
    ctypedef struct record_layer_t "struct record_layer":
        void* (*begin)(uint16_t, const uint8_t*, const uint8_t*) noexcept
        void (*end)(void*) noexcept
        ssize_t (*open)(void*, const uint8_t**, size_t*, uint8_t*, size_t) noexcept
        ssize_t (*seal)(void*, const char*, size_t, uint8_t*, size_t, size_t*) noexcept
        size_t (*close)(void*, uint8_t*, size_t) noexcept
    record_layer_t record_layer

cdef extern from "core/swarm.h" nogil:
    enum:
        BEHAVIOURS
        BUCKETS
        RESTING
        QUEUED
        CONNECTING
        SECURING
        LOGGING_IN
        OPEN
        CLOSING

    ctypedef struct session_t "struct session":
        char* jid

    ctypedef struct list_t "struct list":
        uint32_t count
        uint32_t* numbers

    ctypedef struct accounts_t "struct accounts":
        uint32_t count
        uint32_t first
        char* prefix
        char* password
        char* listed
        uint32_t* offsets

    ctypedef struct peers_t "struct peers":
        uint32_t count

    ctypedef struct pair_t "struct pair":
        uint32_t said
        uint32_t heard
    ctypedef int heard_t "enum heard"
    heard_t pair_hear(pair_t* pair, uint32_t number, uint32_t* missing)

    ctypedef struct pace_t "struct pace":
        double per_second

    ctypedef struct reason_t "struct reason":
        char* text
        uint64_t count

    ctypedef struct reasons_t "struct reasons":
        int known
        reason_t table[256]

    ctypedef struct histogram_t "struct histogram":
        uint64_t* counts

    ctypedef struct settings_t "struct settings":
        bint presence
        bint pipeline
        bint reconnect
        bint pairs
        int keep_alive
        int body_bytes
        int slow_bytes_per_second
        double keep_alive_seconds
        double ping_timeout_seconds
        double chat_per_second
        double room_per_second
        double presence_per_second
        double slow_messages_per_second
        double reconnect_seconds
        double reconnect_limit_seconds
        double login_timeout_seconds
        double close_timeout_seconds
        double hostile_timeout_seconds

    ctypedef struct counters_t "struct counters":
        uint64_t connects
        uint64_t logins
        uint64_t login_failures
        uint64_t reconnects
        uint64_t lost
        uint64_t closed
        uint64_t close_timeouts
        uint64_t aborted
        uint64_t bytes_in
        uint64_t bytes_out
        uint64_t stanzas_in
        uint64_t stanzas_skipped
        uint64_t stanza_errors
        uint64_t chat_sent
        uint64_t chat_received
        uint64_t chat_delayed
        uint64_t chat_bounced
        uint64_t chat_unsent
        uint64_t chat_missed
        uint64_t chat_repeated
        uint64_t chat_reordered
        uint64_t slow_sent
        uint64_t slow_received
        uint64_t spaces_sent
        uint64_t pings_sent
        uint64_t pings_answered
        uint64_t pings_heard
        uint64_t presence_sent
        uint64_t presence_received
        uint64_t room_joins
        uint64_t room_sent
        uint64_t room_received
        uint64_t room_delayed
        uint64_t room_expected
        uint64_t room_bounced
        uint64_t hostile_sent
        uint64_t hostile_refused
        uint64_t hostile_wrong

    ctypedef struct swarm_t "struct swarm":
        sockaddr_storage* servers
        sockaddr_storage* sources
        uint32_t server_count
        uint32_t source_count
        char* domain
        int security
        SSL_CTX* tls
        accounts_t accounts
        int mechanism
        settings_t settings
        session_t* sessions
        uint32_t limit
        uint32_t begun
        uint32_t unused_count
        uint32_t* states
        uint32_t* wanted
        uint32_t wanted_total
        list_t* open
        uint32_t at_once
        pace_t opening
        uint64_t now_ns
        peers_t peers
        list_t occupants
        char* nick
        int poller
        counters_t counters
        reasons_t reasons
        histogram_t* histograms

    ctypedef struct scanner_t "struct scanner":
        uint32_t depth

    ctypedef int scanned_t "enum scanned"
    enum:
        SCAN_MORE
    const char* scan(scanner_t* scanner, const char* at, const char* end, scanned_t* what)

    swarm_t* swarm_new(uint32_t limit)
    void swarm_free(swarm_t* swarm)
    double swarm_turn(swarm_t* swarm, int limit)
    uint64_t clock_ns()
    uint32_t random_below(swarm_t* swarm, uint32_t limit)
    void pace_set(pace_t* pace, double per_second, uint64_t now_ns)
    void talk_paces(swarm_t* swarm)
    void sessions_stop(swarm_t* swarm, uint32_t count, bint reset)
    bint rooms_take(swarm_t* swarm, char** jids, uint32_t count, uint32_t occupants)
    bint peers_take(peers_t* peers, const char* lines, size_t length)
    bint pairs_begin(swarm_t* swarm)
    bint pairs_have_talked(const swarm_t* swarm)
    void pairs_take_longest(swarm_t* swarm, histogram_t* into)
    const char* tls_configure(swarm_t* swarm, const char* authorities, bint verify)
    uint32_t histogram_bucket(uint64_t us)
