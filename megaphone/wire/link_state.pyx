"""The state of a link's session in bytes: another process goes on with it as if only the socket had been lost.

The socket stays behind. Whoever takes over connects anew and says the session's name with a greater epoch; the peer drops
the old socket and says from where on it needs to hear again, as after any broken one. So nothing is exported that belongs
to a socket (the greeting, a frame that has come in half, what TLS has sealed), and a link over TLS moves like any other.

    version (1)  role (1)  flags (1: the peer said DRAIN; 2: we did)  session id (16)
    epoch, features, window, peer's window, streams limit, grace seconds (4 each)
    end of the grace time, bytes received, times re-attached (8 each)       name (4, text)
    ring: acknowledged, written (8 each), what is kept (4, bytes)
    least id never used (4)  ids free again (4, 4 each)
    streams (4), each 40: id (4)  state, queue, wants, reason (1 each)  credit, untaken (4 each)  sent, received, granted (8 each)

Streams stand in the order of their turns: first the ring of those that are held, then those that owe, then the rest.
Times are CLOCK_MONOTONIC nanoseconds of this machine.
"""

from cpython.bytes cimport PyBytes_AS_STRING, PyBytes_FromStringAndSize
from libc.stdint cimport UINT64_MAX, uint8_t, uint32_t
from libc.stdlib cimport realloc
from libc.string cimport memcpy
from posix.uio cimport iovec

from megaphone.wire.link cimport EDGE, REASONS_OF_LINK
from megaphone.wire.link_ring cimport RING_LIMIT_BYTES, Ring, ring_kept, ring_put, ring_regions, ring_reserve
from megaphone.wire.link_session cimport CLOSING, UNATTACHED
from megaphone.wire.link_streams cimport (
    ENDED_BY_PEER, HELD, NOWHERE, OPENED, OWING, Stream, StreamList, list_append, table_add, table_find, table_next,
)
from megaphone.wire.state_bytes cimport (
    StateReader, StateWriter, state_finish, state_get, state_get_bytes, state_get_run, state_put, state_put_bytes,
    state_read, state_room,
)

from megaphone.wire.link_messages import SESSIONS_GO_ON

cdef enum:
    PEER_DRAINS = 1
    WE_DRAIN = 2
    SESSION_ID_BYTES = 16
    LEAST_ID_BYTES = 4          # that stand for an id: as a free one, or as the first of a stream's

cdef uint64_t SECOND = 1000000000


cdef bint can_move(LinkSession session) noexcept:
    """Whether the session outlives its socket."""
    return session.welcomed and not session.over and session.features & <uint32_t> SESSIONS_GO_ON != 0


# --- export ---


cdef bytes export_session(LinkSession session):
    """All that the session is without its socket; the session is left as it was."""
    cdef StateWriter writer = StateWriter(NULL, 0, 0, False)
    if not can_move(session):
        raise ValueError("there is no session that goes on without its socket")
    put_facts(&writer, session)
    put_ring(&writer, &session.ring)
    put_ids(&writer, session)
    put_streams(&writer, session)
    return state_finish(&writer)


cdef void put_facts(StateWriter* writer, LinkSession session):
    cdef uint8_t* to
    state_put(writer, STATE_VERSION, 1)
    state_put(writer, session.role, 1)
    state_put(writer, (PEER_DRAINS if session.draining else 0) | (WE_DRAIN if session.drained else 0), 1)
    to = state_room(writer, SESSION_ID_BYTES)
    if to != NULL:
        memcpy(to, PyBytes_AS_STRING(session.session_id), SESSION_ID_BYTES)
    for number in (
        session.epoch, session.features, session.window_bytes, session.peer_window_bytes, session.streams_limit,
        session.grace_seconds,
    ):
        state_put(writer, number, 4)
    for number in (session.grace_deadline_ns, session.received_bytes, session.reattached_times):
        state_put(writer, number, 8)
    state_put_bytes(writer, session.name.encode())


cdef void put_ring(StateWriter* writer, Ring* ring):
    cdef Ring kept = ring[0]
    cdef iovec regions[2]
    cdef uint8_t* to
    cdef int i
    kept.sent = kept.acknowledged           # all that is kept, not only what the present socket has not taken
    state_put(writer, kept.acknowledged, 8)
    state_put(writer, kept.written, 8)
    state_put(writer, ring_kept(&kept), 4)
    for i in range(ring_regions(&kept, regions)):
        to = state_room(writer, regions[i].iov_len)
        if to != NULL:
            memcpy(to, regions[i].iov_base, regions[i].iov_len)


cdef void put_ids(StateWriter* writer, LinkSession session):
    cdef uint32_t i
    state_put(writer, session.next_id, 4)
    state_put(writer, session.free_id_count, 4)
    for i in range(session.free_id_count):
        state_put(writer, session.free_ids[i], 4)


cdef void put_streams(StateWriter* writer, LinkSession session):
    cdef uint32_t place = 0
    cdef Stream* stream
    state_put(writer, session.table.count, 4)
    put_list(writer, &session.held)
    put_list(writer, &session.owing)
    while True:
        stream = table_next(&session.table, &place)
        if stream == NULL:
            return
        if stream.queue == NOWHERE:
            put_stream(writer, stream)


cdef void put_list(StateWriter* writer, StreamList* list):
    cdef Stream* stream = list.first
    while stream != NULL:
        put_stream(writer, stream)
        stream = stream.next


cdef void put_stream(StateWriter* writer, Stream* stream) noexcept:
    state_put(writer, stream.id, 4)
    state_put(writer, stream.state, 1)
    state_put(writer, stream.queue, 1)
    state_put(writer, stream.wants, 1)
    state_put(writer, stream.reason, 1)
    state_put(writer, stream.credit, 4)
    state_put(writer, stream.untaken, 4)
    state_put(writer, stream.sent, 8)
    state_put(writer, stream.received, 8)
    state_put(writer, stream.granted, 8)


# --- import ---


cdef int import_session(LinkSession session, bytes state, uint64_t now_ns) except -1:
    """Makes a new session the exported one; its grace time begins now if it had a socket."""
    cdef StateReader reader
    state_read(&reader, state)
    if session.state != UNATTACHED or session.welcomed or session.over or session.epoch:
        raise ValueError("the session has begun already")
    get_facts(&reader, session, now_ns)
    get_ring(&reader, &session.ring)
    get_ids(&reader, session)
    get_streams(&reader, session)
    require(not reader.failed and reader.at == reader.end, "its length")
    session.welcomed = True
    return 0


cdef int require(bint holds, str what) except -1:
    if not holds:
        raise ValueError(f"not the state of a link's session: {what}")
    return 0


cdef int get_facts(StateReader* reader, LinkSession session, uint64_t now_ns) except -1:
    cdef int version = state_get(reader, 1), role, flags
    cdef const uint8_t* id
    if version != STATE_VERSION:
        raise ValueError(f"the state of a link's session has version {version} instead of {STATE_VERSION}")
    role = state_get(reader, 1)
    flags = state_get(reader, 1)
    id = state_get_run(reader, SESSION_ID_BYTES)
    require(id != NULL and role == session.role, "whose it is")
    session.draining = flags & PEER_DRAINS != 0
    session.drained = flags & WE_DRAIN != 0
    session.session_id = PyBytes_FromStringAndSize(<const char*> id, SESSION_ID_BYTES)
    session.epoch = state_get(reader, 4)
    session.features = state_get(reader, 4)
    session.window_bytes = state_get(reader, 4)
    session.peer_window_bytes = state_get(reader, 4)
    session.streams_limit = state_get(reader, 4)
    session.grace_seconds = state_get(reader, 4)
    session.grace_deadline_ns = state_get(reader, 8)
    if session.grace_deadline_ns == UINT64_MAX:     # it had a socket
        session.grace_deadline_ns = now_ns + session.grace_seconds * SECOND
    session.now_ns = now_ns
    session.received_bytes = session.acknowledged_bytes = state_get(reader, 8)
    session.reattached_times = state_get(reader, 8)
    session.name = state_get_bytes(reader).decode()
    return 0


cdef int get_ring(StateReader* reader, Ring* ring) except -1:
    cdef uint64_t acknowledged = state_get(reader, 8), written = state_get(reader, 8)
    cdef size_t kept = state_get(reader, 4)
    cdef const uint8_t* data = state_get_run(reader, kept)
    require(data != NULL and kept <= RING_LIMIT_BYTES and acknowledged <= written <= acknowledged + kept, "its ring")
    ring.acknowledged = ring.sent = ring.end = acknowledged
    ring.written = written
    if kept:
        if not ring_reserve(ring, kept):
            raise MemoryError("no memory for a link's ring")
        ring_put(ring, data, kept)
    return 0


cdef int get_ids(StateReader* reader, LinkSession session) except -1:
    cdef uint32_t next_id = state_get(reader, 4), count = state_get(reader, 4), i
    cdef uint64_t places = 1
    cdef uint32_t* free_ids
    cdef uint64_t left = reader.end - reader.at
    require(0 < next_id and count < next_id and next_id - 1 <= left // LEAST_ID_BYTES, "its ids")
    while places < next_id:         # as many as `keep_places` has made for the ids below `next_id`
        places *= 2
    free_ids = <uint32_t*> realloc(session.free_ids, places * sizeof(uint32_t))
    if free_ids == NULL:
        raise MemoryError("no memory for a link's ids")
    session.free_ids = free_ids
    for i in range(count):
        free_ids[i] = state_get(reader, 4)
        require(0 < free_ids[i] < next_id, "its ids")
    session.next_id = next_id
    session.free_id_count = count
    return 0


cdef int get_streams(StateReader* reader, LinkSession session) except -1:
    cdef uint32_t count = state_get(reader, 4), id, i
    cdef Stream* stream
    for i in range(count):
        id = state_get(reader, 4)
        require(not reader.failed and id > 0 and table_find(&session.table, id) == NULL, "the id of a stream")
        if session.role == EDGE:
            require(id < session.next_id, "the id of a stream")
        stream = table_add(&session.table, id)
        if stream == NULL:
            raise MemoryError("no memory for a link's streams")
        get_stream(reader, session, stream)
    if session.role == EDGE:
        require(session.table.count + session.free_id_count + 1 == session.next_id, "ids in use and free")
    return 0


cdef int get_stream(StateReader* reader, LinkSession session, Stream* stream) except -1:
    cdef int state = state_get(reader, 1), queue = state_get(reader, 1)
    stream.state = OPENED
    stream.wants = state_get(reader, 1) != 0
    stream.reason = state_get(reader, 1)
    stream.credit = state_get(reader, 4)
    stream.untaken = state_get(reader, 4)
    stream.sent = state_get(reader, 8)
    stream.received = state_get(reader, 8)
    stream.granted = state_get(reader, 8)
    require(OPENED <= state <= ENDED_BY_PEER and stream.reason < REASONS_OF_LINK, "how a stream ends")
    require(queue == NOWHERE or queue == OWING or (queue == HELD and state == OPENED), "where a stream waits")
    require(
        stream.credit <= session.peer_window_bytes and stream.untaken <= stream.received <= stream.granted,
        "the credit of a stream",
    )
    stream.state = state
    if queue != NOWHERE:
        list_append(&session.held if queue == HELD else &session.owing, stream, queue)
    return 0
