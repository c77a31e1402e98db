# The shared counter board of one worker: which 64-bit slot means what.
from libc.stdint cimport uint64_t

# A stanza's kind as the framer reports it; order matters, slots below are indexed by it.
cpdef enum Kind:
    MESSAGE = 0
    PRESENCE = 1
    IQ = 2
    OTHER = 3

# How a connection ended. Order is part of the board; append only. metrics.py turns the names into label values.
cpdef enum Reason:
    CLIENT_CLOSED = 0        # </stream:stream> or FIN from the client
    SERVER_CLOSED = 1        # </stream:stream> from the server
    CLIENT_RESET = 2         # ECONNRESET and the like from the client
    REMOTE_CONNECTION_FAILED = 3
    HOST_UNKNOWN = 4
    NOT_WELL_FORMED = 5
    RESTRICTED_XML = 6
    INVALID_XML = 7          # invalid-xml, invalid-namespace, bad-format, unsupported-encoding ...
    POLICY_VIOLATION = 8     # stanza size, depth, attributes, pre-authentication bytes, rates
    SLOW_CONSUMER = 9
    IDLE_TIMEOUT = 10
    PREAUTH_TIMEOUT = 11
    RESOURCE_CONSTRAINT = 12 # upstream full, worker full
    TLS_HANDSHAKE_FAILED = 13
    PROXY_HEADER = 14        # missing or bad PROXY header from a listed network
    ADDRESS_LIMIT = 15       # connections per address
    PREFIX_LIMIT = 16        # connections per prefix
    ADDRESS_RATE = 17        # new connections per second of one address
    TOTAL_RATE = 18          # new connections per second in all
    SYSTEM_SHUTDOWN = 19     # drained
    KICKED = 20
    INTERNAL = 21            # our own mistake: always a bug
    HTTP_REFUSED = 22        # a request that got another answer than the client wanted
    REASONS = 23

# One slot each of the board's first 256. "gauge" slots are set, all others only grow.
cpdef enum Slot:
    HEARTBEAT_NS = 0         # gauge: CLOCK_MONOTONIC of the worker's last heartbeat, ns
    STARTED_NS = 1           # gauge: CLOCK_MONOTONIC when this worker process became ready, ns
    LOOP_LAG_NS = 2          # gauge: how late the last heartbeat ran, ns
    LOOP_LAG_MAX_NS = 3      # gauge: the worst lag of the last 10 heartbeats, ns
    RSS_BYTES = 4            # gauge
    GENERATION = 5           # next generation for a ConnectionID; survives the worker
    ACCEPTED = 6
    MOVED = 7                # connections that came from the process before this one, without their clients noticing
    CLOSED_BY_REASON = 8     # .. +REASONS (23) = 31
    OPEN_NEGOTIATING = 32    # gauges: connections by state
    OPEN_CONNECTING = 33     #   waiting for an upstream
    OPEN_RELAYING_PREAUTH = 34
    OPEN_AUTHENTICATED = 35
    OPEN_CLOSING = 36
    OPEN_RELAYING = 37       #   streams of a hub, which does not look into them
    STANZAS_IN = 40          # .. +4 by Kind, client to server
    STANZAS_OUT = 44         # .. +4 by Kind, server to client
    BYTES_IN = 48            # from clients, after TLS
    BYTES_OUT = 49           # to clients, before TLS
    MAILBOX_BYTES = 50       # gauge: queued in mailboxes now
    MAILBOX_FULL = 51        # times a mailbox reached its limit (its writer was paused)
    THROTTLED = 52           # times a connection was paused by its own rate
    CONNECTION_BYTES = 53    # gauge: bytes of one idle connection's objects, computed at start
    TLS_OPENSSL_RECORDS = 54 # handshakes after which OpenSSL goes on with the records
    TLS_OWN_RECORDS = 55     # and those after which it need not
    TLS_1_2_OK = 56
    TLS_1_3_OK = 57
    TLS_RESUMED = 58         # of the above, with a session ticket
    TLS_FAILED = 59
    STARTTLS_OFFERED = 60    # pre-TLS streams answered by the edge
    POLLER_TURNS = 61
    POLLER_EVENTS = 62
    MAILBOX_MEMORY_BYTES = 63  # gauge: chunks of mailboxes that have memory, also free ones
    LIMIT_STANZA_BYTES = 64  # refusals by limit, each also counted in its closing reason
    LIMIT_DEPTH = 65
    LIMIT_ATTRIBUTES = 66
    LIMIT_PREAUTH_BYTES = 67
    LIMIT_STANZA_RATE = 68
    LIMIT_BYTE_RATE = 69
    LIMIT_WORKER_CONNECTIONS = 70
    SURRENDERED = 80         # connections given to the home of their user
    ADOPTED = 81             # and taken over
    SESSIONS = 82            # gauge: bound resources of the embedded service, those that wait for their client included
    SESSIONS_WAITING = 83    # gauge: of these, those that wait for their client (XEP-0198)
    LOGINS = 84              # successful authentications
    LOGIN_FAILURES = 85
    SESSIONS_BOUND = 86      # resources bound
    SESSIONS_RESUMED = 87    # XEP-0198 resumptions
    SESSIONS_EXPIRED = 88    # sessions whose client did not come back in time
    ROOMS = 89               # gauge: rooms at home here
    OCCUPANTS = 90           # gauge: occupants of rooms anywhere whose session is at home here
    BUS_FRAMES_IN = 91       # from other workers
    BUS_FRAMES_OUT = 92      # to other workers
    BUS_BYTES_IN = 93
    BUS_BYTES_OUT = 94
    BUS_REFUSED = 95         # frames for which too much waited for that worker already
    STORE_WRITES = 96        # rows written to the database
    STORE_REFUSED = 97       # writes for which too many waited already, or that the disk refused
    STORE_WAITING = 98       # gauge: writes that wait for a commit
    RELAYED_OPEN = 99        # gauge: streams whose session is in another worker, or whose connection is
    PROMISES_WAITING = 100   # gauge: acknowledgements that wait until something is durable
    OVERFLOWS = 101          # sessions ended because their client took too little for too long
    ARCHIVE_APPENDED = 102   # entries put into archives of rooms and users
    ARCHIVE_ERASED = 103     # entries whose author or a moderator has retracted them
    ARCHIVE_QUERIES = 104    # queries answered with a page
    ARCHIVE_GIVEN = 105      # entries in these pages
    HUB_LINKS_ATTACHED = 192  # gauge: sessions of a hub that have a socket
    HUB_LINKS_WAITING = 193  # gauge: and those that wait for a new one
    HUB_FRAMES_IN = 194    # from edges
    HUB_FRAMES_OUT = 195   # to edges
    HUB_LINK_BYTES_IN = 196  # on the links' sockets, after TLS
    HUB_LINK_BYTES_OUT = 197  # before TLS
    HUB_KEPT_BYTES = 198   # gauge: said and not acknowledged
    HUB_UNSENT_BYTES = 199  # gauge: of these, what no socket has taken
    HUB_ATTACHES = 200     # greetings that began a session
    HUB_REATTACHES = 201   # greetings that went on with one
    HUB_BROKEN = 202       # sockets that broke while they carried a session
    HUB_REFUSED = 203      # sockets that did not get a WELCOME
    UPSTREAM_BLOCKS = 256    # 64 blocks of 16 slots, one per upstream in config order
    ADMISSION_BLOCKS = 1280  # 64 blocks of 16 slots, one per upstream: new streams on their way to a link
    LINK_BLOCKS = 2304       # 64 * 16 blocks of 16 slots: each upstream's links in order

# Slots of one upstream's block.
cpdef enum UpstreamSlot:
    UP_HEALTHY = 0           # gauge: 1 or 0
    UP_OPEN = 1              # gauge: connections open now
    UP_CONNECTS = 2          # successful; on links: streams opened
    UP_CONNECT_FAILURES = 3
    UP_CONNECT_NS = 4        # sum over successful connects; on links: until OPEN was said
    UP_CHECKS_OK = 5
    UP_CHECKS_FAILED = 6
    UP_CHECK_NS = 7          # gauge: duration of the last good check (connect to features)
    UP_REFUSED_FULL = 8      # times it was passed over because of max_connections
    UP_CONNECT_BUCKETS = 9   # .. 15: cumulative-less counts of connect time <=1ms, <=5ms, <=25ms, <=100ms, <=500ms, <=2.5s, more

# Slots of one upstream's admission block.
cpdef enum AdmissionSlot:
    AD_WAITING = 0           # gauge: streams that wait for a link, or for their turn
    AD_OPENING = 1           # gauge: streams that were opened and not answered yet
    AD_WAITED = 2            # streams that had to wait
    AD_WAITED_NS = 3         # sum over those that were opened then
    AD_RETURNING = 4         # of the streams that had to wait: those that went first
    AD_REFUSED = 5           # streams for which there was no place to wait
    AD_ANSWER_NS = 6         # sum of times from OPEN to the server's first bytes
    AD_ANSWER_BUCKETS = 7    # .. 13: counts of those times, as UP_CONNECT_BUCKETS

# Slots of one link's block.
cpdef enum LinkSlot:
    LI_STATE = 0             # gauge: uplink.link.LinkState
    LI_STREAMS = 1           # gauge: streams in its table, also those whose end is not complete
    LI_FRAMES_IN = 2
    LI_FRAMES_OUT = 3
    LI_BYTES_IN = 4          # from the server, after TLS
    LI_BYTES_OUT = 5         # to the server, before TLS
    LI_ROUND_TRIP_NS = 6     # gauge: of the last PING
    LI_KEPT_BYTES = 7        # gauge: said and not acknowledged
    LI_UNSENT_BYTES = 8      # gauge: of these, not taken by the socket
    LI_ATTACHES = 9          # sessions begun
    LI_REATTACHES = 10       # sessions that went on with a new socket
    LI_BREAKS = 11           # sockets lost, also while connecting
    LI_REFUSED = 12          # greetings refused, by either side
    LI_CREDIT_WAITS = 13     # times a client had to wait for the server's credit
    LI_CREDIT_WAIT_NS = 14   # sum of those times
    LI_TURN_WAITS = 15       # times a client had to wait for its turn on the link

cdef enum:
    BOARD_SLOTS = 18688      # 256 + 64 * 16 + 64 * 16 + 64 * 16 * 16
    UPSTREAM_BLOCK = 16
    MAX_UPSTREAMS = 64
    LINK_BLOCK = 16
    MAX_LINKS = 16           # of one worker to one upstream

cdef class Board:
    cdef uint64_t* slots
    cdef Py_buffer view
    cdef bint held
    cpdef void add(self, int slot, uint64_t amount)
    cpdef void set(self, int slot, uint64_t value)
    cpdef uint64_t get(self, int slot)
    cpdef use(self, memory)
