"""Types of the compiled counter board."""

from enum import IntEnum

BOARD_BYTES: int

class Kind(IntEnum):
    """A stanza's kind."""

    MESSAGE = 0
    PRESENCE = 1
    IQ = 2
    OTHER = 3

class Reason(IntEnum):
    """How a connection ended."""

    CLIENT_CLOSED = 0
    SERVER_CLOSED = 1
    CLIENT_RESET = 2
    REMOTE_CONNECTION_FAILED = 3
    HOST_UNKNOWN = 4
    NOT_WELL_FORMED = 5
    RESTRICTED_XML = 6
    INVALID_XML = 7
    POLICY_VIOLATION = 8
    SLOW_CONSUMER = 9
    IDLE_TIMEOUT = 10
    PREAUTH_TIMEOUT = 11
    RESOURCE_CONSTRAINT = 12
    TLS_HANDSHAKE_FAILED = 13
    PROXY_HEADER = 14
    ADDRESS_LIMIT = 15
    PREFIX_LIMIT = 16
    ADDRESS_RATE = 17
    TOTAL_RATE = 18
    SYSTEM_SHUTDOWN = 19
    KICKED = 20
    INTERNAL = 21
    HTTP_REFUSED = 22
    REASONS = 23

class Slot(IntEnum):
    """A 64-bit slot of a worker's board."""

    HEARTBEAT_NS = 0
    STARTED_NS = 1
    LOOP_LAG_NS = 2
    LOOP_LAG_MAX_NS = 3
    RSS_BYTES = 4
    GENERATION = 5
    ACCEPTED = 6
    MOVED = 7
    CLOSED_BY_REASON = 8
    OPEN_NEGOTIATING = 32
    OPEN_CONNECTING = 33
    OPEN_RELAYING_PREAUTH = 34
    OPEN_AUTHENTICATED = 35
    OPEN_CLOSING = 36
    OPEN_RELAYING = 37
    STANZAS_IN = 40
    STANZAS_OUT = 44
    BYTES_IN = 48
    BYTES_OUT = 49
    MAILBOX_BYTES = 50
    MAILBOX_FULL = 51
    THROTTLED = 52
    CONNECTION_BYTES = 53
    TLS_OPENSSL_RECORDS = 54
    TLS_OWN_RECORDS = 55
    TLS_1_2_OK = 56
    TLS_1_3_OK = 57
    TLS_RESUMED = 58
    TLS_FAILED = 59
    STARTTLS_OFFERED = 60
    POLLER_TURNS = 61
    POLLER_EVENTS = 62
    MAILBOX_MEMORY_BYTES = 63
    LIMIT_STANZA_BYTES = 64
    LIMIT_DEPTH = 65
    LIMIT_ATTRIBUTES = 66
    LIMIT_PREAUTH_BYTES = 67
    LIMIT_STANZA_RATE = 68
    LIMIT_BYTE_RATE = 69
    LIMIT_WORKER_CONNECTIONS = 70
    SURRENDERED = 80
    ADOPTED = 81
    SESSIONS = 82
    SESSIONS_WAITING = 83
    LOGINS = 84
    LOGIN_FAILURES = 85
    SESSIONS_BOUND = 86
    SESSIONS_RESUMED = 87
    SESSIONS_EXPIRED = 88
    ROOMS = 89
    OCCUPANTS = 90
    BUS_FRAMES_IN = 91
    BUS_FRAMES_OUT = 92
    BUS_BYTES_IN = 93
    BUS_BYTES_OUT = 94
    BUS_REFUSED = 95
    STORE_WRITES = 96
    STORE_REFUSED = 97
    STORE_WAITING = 98
    RELAYED_OPEN = 99
    PROMISES_WAITING = 100
    OVERFLOWS = 101
    ARCHIVE_APPENDED = 102
    ARCHIVE_ERASED = 103
    ARCHIVE_QUERIES = 104
    ARCHIVE_GIVEN = 105
    HUB_LINKS_ATTACHED = 192
    HUB_LINKS_WAITING = 193
    HUB_FRAMES_IN = 194
    HUB_FRAMES_OUT = 195
    HUB_LINK_BYTES_IN = 196
    HUB_LINK_BYTES_OUT = 197
    HUB_KEPT_BYTES = 198
    HUB_UNSENT_BYTES = 199
    HUB_ATTACHES = 200
    HUB_REATTACHES = 201
    HUB_BROKEN = 202
    HUB_REFUSED = 203
    UPSTREAM_BLOCKS = 256
    ADMISSION_BLOCKS = 1280
    LINK_BLOCKS = 2304

class UpstreamSlot(IntEnum):
    """A slot of one upstream's block."""

    UP_HEALTHY = 0
    UP_OPEN = 1
    UP_CONNECTS = 2
    UP_CONNECT_FAILURES = 3
    UP_CONNECT_NS = 4
    UP_CHECKS_OK = 5
    UP_CHECKS_FAILED = 6
    UP_CHECK_NS = 7
    UP_REFUSED_FULL = 8
    UP_CONNECT_BUCKETS = 9

class AdmissionSlot(IntEnum):
    """A slot of one upstream's admission block."""

    AD_WAITING = 0
    AD_OPENING = 1
    AD_WAITED = 2
    AD_WAITED_NS = 3
    AD_RETURNING = 4
    AD_REFUSED = 5
    AD_ANSWER_NS = 6
    AD_ANSWER_BUCKETS = 7

class LinkSlot(IntEnum):
    """A slot of one link's block."""

    LI_STATE = 0
    LI_STREAMS = 1
    LI_FRAMES_IN = 2
    LI_FRAMES_OUT = 3
    LI_BYTES_IN = 4
    LI_BYTES_OUT = 5
    LI_ROUND_TRIP_NS = 6
    LI_KEPT_BYTES = 7
    LI_UNSENT_BYTES = 8
    LI_ATTACHES = 9
    LI_REATTACHES = 10
    LI_BREAKS = 11
    LI_REFUSED = 12
    LI_CREDIT_WAITS = 13
    LI_CREDIT_WAIT_NS = 14
    LI_TURN_WAITS = 15

class Board:
    """A view of `BOARD_BYTES` writable bytes as named counters."""

    def __init__(self, memory: object) -> None: ...
    def use(self, memory: object) -> None: ...
    def add(self, slot: int, amount: int) -> None: ...
    def set(self, slot: int, value: int) -> None: ...
    def get(self, slot: int) -> int: ...
    @staticmethod
    def upstream_slot(upstream: int, slot: int) -> int: ...
    @staticmethod
    def admission_slot(upstream: int, slot: int) -> int: ...
    @staticmethod
    def link_slot(upstream: int, link: int, slot: int) -> int: ...
