"""The compiled swarm: core/ is the work, this is its face in Python."""

from libc.stdint cimport uint8_t, uint16_t, uint32_t, uint64_t
from libc.stdlib cimport calloc, free
from libc.string cimport memcpy, memset, strdup

import os
import resource
import select
import time
import unicodedata
from dataclasses import asdict, replace

from loadtest.swarm.errors import DescriptorLimitError, SwarmError, TargetError
from loadtest.swarm.histogram import Histogram
from loadtest.swarm.settings import BEHAVIOURS as BEHAVIOUR_NAMES, Settings

include "core.pxi"
include "records.pxi"

KEEP_ALIVES = ("none", "space", "ping")
MECHANISMS = ("ANONYMOUS", "PLAIN", "SCRAM-SHA-1", "SCRAM-SHA-256")
SECURITIES = ("plain", "starttls", "tls")
HISTOGRAM_NAMES = ("login", "chat", "ping", "room", "join", "close", "lateness")
HEARD = ("next", "late", "again")
SCANNED = ("more", "header", "element", "end")
SESSIONS_LIMIT = 1_000_000
ROOMS_LIMIT = 100_000
AT_ONCE_LIMIT = 100_000
TURN_LIMIT = 1024


cdef class Swarm:
    """See engine.pyi."""

    cdef swarm_t* swarm
    cdef object current

    def __init__(self, target, accounts, settings=None, *, int limit=20_000):
        if self.swarm != NULL:
            raise SwarmError("a swarm begins once")
        if not 1 <= limit <= SESSIONS_LIMIT:
            raise SwarmError(f"a swarm has 1 to {SESSIONS_LIMIT} sessions, not {limit}")
        self.swarm = swarm_new(limit)
        if self.swarm == NULL:
            raise MemoryError(f"no memory for {limit} sessions")
        try:
            self.take_target(target)
            self.take_accounts(accounts)
            self.current = settings or Settings()
            self.put_in_force()
        except BaseException:
            self.free()
            raise

    def __dealloc__(self):
        if self.swarm != NULL:
            swarm_free(self.swarm)

    def free(self):
        if self.swarm != NULL:
            swarm_free(self.swarm)
            self.swarm = NULL

    def __enter__(self):
        return self

    def __exit__(self, *exc):
        self.free()

    cdef swarm_t* alive(self) except NULL:
        if self.swarm == NULL:
            raise SwarmError("this swarm was freed")
        return self.swarm

    # --- what it is made of ---

    cdef take_target(self, target):
        servers = target.addresses()
        sources = target.sources()
        if any(len(source) != len(servers[0][0]) for source in sources):
            raise TargetError("source addresses and server are of different kinds (IPv4, IPv6)")
        self.swarm.servers = pack_addresses(servers)
        self.swarm.server_count = len(servers)
        self.swarm.sources = pack_addresses([(source, 0) for source in sources])
        self.swarm.source_count = len(sources)
        self.swarm.domain = copy_text(target.domain)
        self.swarm.security = SECURITIES.index(target.security)
        nick = f"s{os.getpid():x}-".encode()
        memcpy(self.swarm.nick, <const char*> nick, len(nick) + 1)
        if self.swarm.security != 0:
            self.configure_tls(target.ca_file, target.verify)
            if target.tls_version == "1.2":
                SSL_CTX_set_max_proto_version(self.swarm.tls, TLS1_2_VERSION)

    cdef configure_tls(self, ca_file, verify):
        path = b"" if ca_file is None else os.fsencode(ca_file)
        cdef const char* authorities = NULL
        if ca_file is not None:
            authorities = path
        cdef const char* wrong = tls_configure(self.swarm, authorities, verify)
        if wrong != NULL:
            raise TargetError(f"cannot trust the authorities of {ca_file or 'the system'}: {wrong.decode()}")

    cdef take_accounts(self, accounts):
        cdef accounts_t* into = &self.swarm.accounts
        cdef size_t length = 0, index
        self.swarm.mechanism = MECHANISMS.index(accounts.mechanism)
        into.count = accounts.count
        into.first = accounts.first
        into.prefix = copy_text(prepared(accounts.prefix))
        into.password = copy_text(prepared(accounts.password))
        if not accounts.listed:
            return
        fields = [prepared(text).encode() + b"\0" for each in accounts.listed for text in each]
        text = b"".join(fields)
        into.listed = <char*> calloc(len(text), 1)
        into.offsets = <uint32_t*> calloc(into.count, sizeof(uint32_t))
        if into.listed == NULL or into.offsets == NULL:
            raise MemoryError("no memory for the accounts")
        memcpy(into.listed, <const char*> text, len(text))
        for index, field in enumerate(fields):
            if index % 2 == 0:
                into.offsets[index // 2] = length
            length += len(field)

    # --- settings ---

    @property
    def settings(self):
        return self.current

    def change(self, **settings):
        self.current = replace(self.current, **settings)
        self.put_in_force()

    cdef put_in_force(self):
        fields = asdict(self.current)
        fields["keep_alive"] = KEEP_ALIVES.index(fields["keep_alive"])
        if self.current.pairs and not pairs_begin(self.alive()):
            raise MemoryError("no memory for the pairs")
        self.alive().settings = fields
        talk_paces(self.swarm)

    # --- driving ---

    def fileno(self):
        return self.alive().poller

    def turn(self, int limit=TURN_LIMIT):
        cdef swarm_t* swarm = self.alive()
        cdef double seconds
        if limit < 1:
            raise SwarmError(f"a turn handles at least 1 session, not {limit}")
        with nogil:
            seconds = swarm_turn(swarm, limit)
        return seconds

    def wait(self, until, double timeout_seconds):
        deadline = time.monotonic() + timeout_seconds
        poll = select.poll()
        poll.register(self.fileno(), select.POLLIN)
        while True:
            seconds = self.turn()
            if until():
                return True
            rest = deadline - time.monotonic()
            if rest <= 0:
                return False
            poll.poll(min(seconds, rest) * 1000)

    # --- sessions ---

    @property
    def room(self):
        cdef swarm_t* swarm = self.alive()
        return swarm.limit - (swarm.begun - swarm.unused_count + swarm.wanted_total)

    def open(self, int count, *, behaviour="regular", at_once=None, per_second=None):
        cdef swarm_t* swarm = self.alive()
        if behaviour not in BEHAVIOUR_NAMES:
            raise SwarmError(f"a session is {', '.join(BEHAVIOUR_NAMES)}, not {behaviour!r}")
        if at_once is not None and not 1 <= at_once <= AT_ONCE_LIMIT:
            raise SwarmError(f"1 to {AT_ONCE_LIMIT} sessions log in at once, not {at_once}")
        if per_second is not None and not 0 <= per_second < 1e6:
            raise SwarmError(f"connections begin 0 (no limit) to a million times a second, not {per_second}")
        room = self.room
        if count < 0 or count > room:
            raise SwarmError(f"{count} more sessions: this swarm has {swarm.limit - room} of at most {swarm.limit}")
        check_descriptors(count, swarm.wanted_total + swarm.states[RESTING] + swarm.states[QUEUED])
        if at_once is not None:
            swarm.at_once = at_once
        if per_second is not None:
            pace_set(&swarm.opening, per_second, clock_ns())
        swarm.wanted[BEHAVIOUR_NAMES.index(behaviour)] += count
        swarm.wanted_total += count

    def close(self, count=None):
        self.stop(count, False)

    def abort(self, count=None):
        self.stop(count, True)

    cdef stop(self, count, bint reset):
        cdef uint32_t number = SESSIONS_LIMIT if count is None else max(0, min(count, SESSIONS_LIMIT))
        cdef swarm_t* swarm = self.alive()
        with nogil:
            swarm.now_ns = clock_ns()
            sessions_stop(swarm, number, reset)

    # --- rooms and peers ---

    def enter(self, rooms, int occupants):
        texts = [quoted(room) for room in rooms]
        if len(texts) > ROOMS_LIMIT or len(set(texts)) != len(texts) or occupants < 0:
            raise SwarmError(f"at most {ROOMS_LIMIT} different rooms, and not fewer than no occupants")
        cdef swarm_t* swarm = self.alive()
        cdef char** jids = <char**> calloc(len(texts) + 1, sizeof(char*))
        cdef Py_ssize_t index
        cdef bint taken = False
        if jids != NULL:
            for index in range(len(texts)):
                jids[index] = <char*> (<bytes> texts[index])
            taken = rooms_take(swarm, jids, len(texts), occupants)
            free(jids)
        if not taken:
            raise MemoryError("no memory for the rooms")

    def jids(self, int sample=2_000):
        cdef swarm_t* swarm = self.alive()
        cdef list_t* regular = &swarm.open[0]
        cdef uint32_t count = regular.count, taken = min(<uint32_t> max(0, sample), count), index
        if taken == 0:
            return b""
        cdef uint64_t first = random_below(swarm, count)
        return b"\n".join([
            <bytes> swarm.sessions[regular.numbers[(first + <uint64_t> index * count // taken) % count]].jid
            for index in range(taken)
        ])

    def peers(self, bytes jids not None):
        if any(character in jids for character in b"<>'\0"):
            raise SwarmError("peers are full JIDs, one a line, as `jids` gives them")
        if self.current.pairs and pairs_have_talked(self.alive()):
            raise SwarmError("partners stay: these pairs have talked")
        if not peers_take(&self.alive().peers, jids, len(jids)):
            raise MemoryError("no memory for the peers")

    # --- results ---

    def counters(self):
        cdef swarm_t* swarm = self.alive()
        now = {
            "wanted": swarm.wanted_total,
            "connecting": swarm.states[CONNECTING] + swarm.states[SECURING] + swarm.states[LOGGING_IN],
            "open": swarm.states[OPEN],
            "closing": swarm.states[CLOSING],
            "waiting": swarm.states[RESTING] + swarm.states[QUEUED],
            "occupants": swarm.occupants.count,
            "peers": swarm.peers.count,
        }
        return now | swarm.counters

    def failures(self):
        cdef swarm_t* swarm = self.alive()
        return {
            swarm.reasons.table[index].text.decode(errors="replace"): swarm.reasons.table[index].count
            for index in range(swarm.reasons.known)
        }

    def histograms(self):
        cdef swarm_t* swarm = self.alive()
        return {name: taken_from(&swarm.histograms[<int> index]) for index, name in enumerate(HISTOGRAM_NAMES)}

    def longest_deliveries(self):
        cdef swarm_t* swarm = self.alive()
        cdef histogram_t* found = <histogram_t*> calloc(1, sizeof(histogram_t))
        if found == NULL:
            raise MemoryError("no memory for a histogram")
        pairs_take_longest(swarm, found)
        taken = taken_from(found)
        free(found)
        return taken


# --- C's values for Python ---

cdef taken_from(histogram_t* histogram):
    cdef int bucket
    return Histogram({bucket: histogram.counts[bucket] for bucket in range(BUCKETS) if histogram.counts[bucket] > 0})


# --- Python's values for C ---

cdef sockaddr_storage* pack_addresses(addresses) except? NULL:
    cdef sockaddr_storage* packed = <sockaddr_storage*> calloc(len(addresses) + 1, sizeof(sockaddr_storage))
    cdef sockaddr_in* ipv4
    cdef sockaddr_in6* ipv6
    if packed == NULL:
        raise MemoryError("no memory for addresses")
    for index, (address, port) in enumerate(addresses):
        if len(address) == 4:
            ipv4 = <sockaddr_in*> &packed[<int> index]
            ipv4.sin_family = AF_INET
            ipv4.sin_port = htons(port)
            memcpy(&ipv4.sin_addr, <const char*> (<bytes> address), 4)
        else:
            ipv6 = <sockaddr_in6*> &packed[<int> index]
            ipv6.sin6_family = AF_INET6
            ipv6.sin6_port = htons(port)
            memcpy(&ipv6.sin6_addr, <const char*> (<bytes> address), 16)
    return packed


cdef char* copy_text(str text) except NULL:
    encoded = text.encode()
    cdef char* copied = strdup(<const char*> encoded)
    if copied == NULL:
        raise MemoryError("no memory for a text")
    return copied


def prepared(text):
    """As SASL compares names and passwords (RFC 4013, RFC 8265: the normal form), without refusing any character."""
    return text if text.isascii() else unicodedata.normalize("NFKC", text)


def quoted(room):
    """The JID of a room, fit to stand between apostrophes."""
    if not room or any(character in room for character in "<>\"\n\0"):
        raise SwarmError(f"not the JID of a room: {room!r}")
    return room.lower().replace("&", "&amp;").replace("'", "&apos;").encode()


def check_descriptors(count, unopened):
    """Raise the soft limit of descriptors to the hard one if need be; DescriptorLimitError if that is not enough."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    used = len(os.listdir("/proc/self/fd")) - 1 + unopened
    if used + count > soft and (hard == resource.RLIM_INFINITY or hard > soft):
        resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
        soft = hard
    if soft != resource.RLIM_INFINITY and used + count > soft:
        raise DescriptorLimitError(count, used, soft)


def bucket(uint64_t microseconds):
    return histogram_bucket(microseconds)


def heard(numbers):
    cdef pair_t pair
    cdef uint32_t missing
    memset(&pair, 0, sizeof(pair))
    return [(HEARD[pair_hear(&pair, number, &missing)], missing) for number in numbers]


def scanned(pieces):
    cdef scanner_t scanner
    cdef scanned_t what
    cdef const char* begin
    cdef const char* at
    cdef const char* end
    cdef bytes piece
    memset(&scanner, 0, sizeof(scanner))
    found, kept = [], b""
    for piece in pieces:
        begin = at = piece
        end = begin + len(piece)
        while at < end:
            begin = at
            at = scan(&scanner, at, end, &what)
            kept += begin[: at - begin]
            if what != SCAN_MORE:
                found.append((SCANNED[what], kept))
                kept = b""
    return found
