"""What is moved of a worker's links to its successor: sessions as link_state.pyx writes them, and the streams on them.

The sockets stay behind, and nothing the server knows changes: the successor attaches each session anew, as after a broken
socket. On one machine that takes a few milliseconds, while the clients' bytes wait in the session's ring; it works over TLS
as well, whose state could not move, and needs neither the rest of a frame that came in half nor what a socket has not
taken. So a moved link is one more case of what links do every day, and no second way to go on with one.

How far a stream has got is written with its session, in one piece, as the two must agree. Its bytes:

    version (1)  streams (4), each:
    link (1; 255: waits for one)  id on it (4)  connection (8)  upstreams tried (8; a bit each, by their places)
    began, waits for credit since, deadline (8 each)  untaken (4)  state, last reason, flags (1 each)
    domain (4, text)  the client's bytes that wait (4, bytes)

Streams come link by link, then those that wait, in the order of their turns. Times are CLOCK_MONOTONIC nanoseconds, the
deadline milliseconds, of this machine.
"""

from libc.stdint cimport uint8_t, uint32_t, uint64_t
from libc.string cimport memcpy

from megaphone.dispatch.counters cimport *
from megaphone.dispatch.mailbox cimport Chunk, Mailbox
from megaphone.sockets.moving cimport milliseconds_of, ticks_from
from megaphone.uplink.link cimport BROKEN, CLOSED, Link
from megaphone.uplink.link_carrier cimport LinkCarrier
from megaphone.uplink.link_stream cimport EdgeSession, LinkStream, OPENING, OVER, QUEUED
from megaphone.uplink.uplink cimport Uplink
from megaphone.wire.link_state cimport can_move, export_session, import_session
from megaphone.wire.link_streams cimport OPENED, Stream, table_find, table_next
from megaphone.wire.state_bytes cimport (
    StateReader, StateWriter, state_finish, state_get, state_get_bytes, state_get_run, state_put, state_put_bytes,
    state_read, state_room,
)

cdef enum:
    STREAMS_VERSION = 1
    NO_LINK = 255
    # flags
    DETACHED = 1
    CLIENT_ENDED = 2
    RETURNING = 4
    COUNTED = 8


# --- the predecessor ---


def export_link(Link link):
    """What a link_part.LinkRecord says of it."""
    cdef EdgeSession session = link.session
    due_ns = link.due_ns if link.state == BROKEN else 0
    if session is not None:
        link.count()
    if session is None or not can_move(session):
        return None, 0, link.delay_ms, due_ns, link.trouble
    return export_session(session), session.unanswered(), link.delay_ms, due_ns, link.trouble


def export_streams(LinkCarrier carrier):
    """All streams of the carrier whose session moves, and those that wait for a link."""
    cdef StateWriter writer = StateWriter(NULL, 0, 0, False)
    cdef Link link
    cdef LinkStream owner
    cdef Stream* stream
    cdef uint32_t place
    cdef list found = []
    for link in carrier.links:
        if link.session is None or not can_move(link.session):
            continue
        place = 0
        while True:
            stream = table_next(&link.session.table, &place)
            if stream == NULL:
                break
            if stream.state == OPENED:
                found.append((link.index, <LinkStream> stream.owner))
    found += [(NO_LINK, owner) for owner in carrier.waiting()]
    state_put(&writer, STREAMS_VERSION, 1)
    state_put(&writer, len(found), 4)
    for index, owner in found:
        put_stream(&writer, index, owner)
    return state_finish(&writer)


cdef void put_stream(StateWriter* writer, int link, LinkStream owner):
    cdef int flags = 0
    if owner.detached:
        flags |= DETACHED
    if owner.client_ended:
        flags |= CLIENT_ENDED
    if owner.returning:
        flags |= RETURNING
    if owner.counted:
        flags |= COUNTED
    state_put(writer, link, 1)
    state_put(writer, 0 if owner.stream == NULL else owner.stream.id, 4)
    state_put(writer, owner.connection_id, 8)
    state_put(writer, owner.tried, 8)
    state_put(writer, owner.began_ns, 8)
    state_put(writer, owner.credit_wait_ns, 8)
    state_put(writer, milliseconds_of(owner.deadline_ticks), 8)
    state_put(writer, owner.untaken, 4)
    state_put(writer, owner.state, 1)
    state_put(writer, owner.last_reason, 1)
    state_put(writer, flags, 1)
    state_put_bytes(writer, owner.domain.encode())
    put_mailbox(writer, &owner.waiting)


cdef void put_mailbox(StateWriter* writer, Mailbox* mailbox):
    cdef Chunk* chunk = mailbox.head
    cdef uint8_t* to
    state_put(writer, mailbox.size, 4)
    while chunk != NULL:
        to = state_room(writer, chunk.end - chunk.begin)
        if to != NULL:
            memcpy(to, chunk.data + chunk.begin, chunk.end - chunk.begin)
        chunk = chunk.next


def leave(LinkCarrier carrier):
    """Everything lives on elsewhere, or was never used: closes the sockets without a word.

    Streams whose clients stay here are theirs no more.
    A session that is over says its last words yet.
    """
    cdef Link link
    cdef LinkStream owner
    cdef Stream* stream
    cdef uint32_t place
    carrier.asleep = False
    for link in carrier.links:
        link.state = CLOSED
        if link.session is None or link.session.over:
            continue
        place = 0
        while True:
            stream = table_next(&link.session.table, &place)
            if stream == NULL:
                break
            if stream.owner != NULL:
                owner = <LinkStream> stream.owner
                owner.leave(None)
        link.session.link = None
        link.session = None
        if link.receiver is not None:
            link.receiver.close()
        link.receiver = None
        link.sender = None
    for owner in carrier.waiting():
        owner.leave(None)
    carrier.returning.clear()
    carrier.others.clear()
    carrier.opening = 0
    carrier.slots()[<int> AD_WAITING] = carrier.slots()[<int> AD_OPENING] = 0


# --- the successor ---


def new_owner(Uplink uplink, LinkCarrier carrier, uint64_t connection_id):
    """The owner of a connection whose stream `restore_streams` will restore."""
    cdef LinkStream owner = carrier.new_stream()
    owner.uplink = uplink
    owner.upstream = carrier.upstream
    owner.domain = ""
    owner.connection_id = connection_id
    return owner


def restore_carrier(LinkCarrier carrier, bint attached, uint64_t unattached_ns, said):
    """Whether the upstream was there, since when not, and what was last reported of it."""
    carrier.asleep = True
    carrier.attached = attached
    carrier.unattached_ns = unattached_ns
    carrier.said = said
    if said is not None:
        carrier.pool.mark(carrier.upstream, healthy=attached)


def restore_link(LinkCarrier carrier, int index, bytes session_state, uint32_t abandoned, uint32_t delay_ms, uint64_t due_ns, trouble):
    """A link as it was, without a socket. ValueError for a session that cannot be restored."""
    cdef Link link
    cdef EdgeSession session
    while len(carrier.links) <= index:      # the configuration has fewer now: those that carry streams stay until a restart
        carrier.add_link()
    link = carrier.links[index]
    link.delay_ms = delay_ms
    link.due_ns = due_ns
    link.trouble = trouble
    if session_state is None:
        return
    session = link.new_session(bytes(16))
    import_session(session, session_state, carrier.poller.now_ns)
    session.name = link.name
    session.abandoned = abandoned
    link.session = session
    link.bytes_out = session.ring.written


def restore_streams(Uplink uplink, LinkCarrier carrier, bytes state, list names, dict asleep):
    """The streams of links restored before; `asleep` has those whose connections are here already, by their ids.

    `names` are the upstreams of the process that has written this, in its order. ValueError if that is not what `export_streams` has written.
    """
    cdef StateReader reader
    cdef Link link
    cdef Stream* stream
    cdef uint32_t place, count
    state_read(&reader, state)
    version = state_get(&reader, 1)
    if version != STREAMS_VERSION:
        raise ValueError(f"the streams of links have version {version} instead of {STREAMS_VERSION}")
    for _ in range(state_get(&reader, 4)):
        get_stream(&reader, uplink, carrier, names, asleep)
    if reader.failed or reader.at != reader.end:
        raise ValueError("not the streams of links: their length")
    for link in carrier.links:
        place = 0
        while link.session is not None:
            stream = table_next(&link.session.table, &place)
            if stream == NULL:
                break
            if stream.state == OPENED and stream.owner == NULL:
                raise ValueError(f"not the streams of links: none is stream {stream.id} of link {link.index}")
    for waiting in (carrier.left, carrier.lingering):
        in_turn = sorted(waiting, key=deadline_of)
        waiting.clear()
        waiting.extend(in_turn)


def deadline_of(LinkStream owner):
    """What has the least is due first."""
    return owner.deadline_ticks


cdef int get_stream(StateReader* reader, Uplink uplink, LinkCarrier carrier, list names, dict asleep) except -1:
    cdef int index = state_get(reader, 1), state, flags
    cdef uint32_t id = state_get(reader, 4), waiting
    cdef uint64_t connection_id = state_get(reader, 8)
    cdef LinkStream owner = asleep.pop(connection_id, None)
    cdef const uint8_t* run
    if owner is None or owner.admission is not carrier:
        owner = new_owner(uplink, carrier, connection_id)
    tried = state_get(reader, 8)
    if tried:
        owner.tried = uplink.tried_of([name for place, name in enumerate(names) if tried >> place & 1])
    owner.began_ns = state_get(reader, 8)
    owner.credit_wait_ns = state_get(reader, 8)
    owner.deadline_ticks = ticks_from(state_get(reader, 8))
    owner.untaken = state_get(reader, 4)
    state = state_get(reader, 1)
    owner.last_reason = state_get(reader, 1)
    flags = state_get(reader, 1)
    owner.domain = state_get_bytes(reader).decode()
    waiting = state_get(reader, 4)
    run = state_get_run(reader, waiting)
    if run == NULL or state >= OVER or (index == NO_LINK) != (state == QUEUED):
        raise ValueError("not the streams of links: the state of a stream")
    owner.detached = flags & DETACHED != 0
    owner.client_ended = flags & CLIENT_ENDED != 0
    owner.returning = flags & RETURNING != 0
    if waiting and not uplink.poller.chunks.put(&owner.waiting, run, waiting):
        raise MemoryError("no memory for the bytes of clients")
    if flags & COUNTED:
        owner.counted = True
        owner.upstream.open += 1
        owner.block()[<int> UP_OPEN] += 1
    if state == QUEUED:
        (carrier.returning if owner.returning else carrier.others)[owner] = None
        carrier.slots()[<int> AD_WAITING] += 1
    else:
        place_on(carrier, owner, index, id)
        owner.state = state
        if state == OPENING:
            carrier.opened()
    if owner.detached:
        carrier.lingering.append(owner)
    elif owner.deadline_ticks:
        carrier.left.append(owner)
    return 0


cdef int place_on(LinkCarrier carrier, LinkStream owner, int index, uint32_t id) except -1:
    """The stream is the one with this id on that link."""
    cdef EdgeSession session = (<Link> carrier.links[index]).session if index < len(carrier.links) else None
    cdef Stream* stream = table_find(&session.table, id) if session is not None else NULL
    if stream == NULL or stream.state != OPENED or stream.owner != NULL:
        raise ValueError(f"not the streams of links: stream {id} on link {index}")
    session.set_owner(stream, owner)
    session.live += 1
    owner.session = session
    owner.stream = stream
    return 0


def go_on(LinkCarrier carrier, list lost):
    """All connections are here: ends the streams of those that are not, and attaches the links at once.

    `lost` are owners that were given no stream: none of ours, unless the predecessor has made a mistake.
    """
    cdef Link link
    cdef LinkStream owner
    cdef Stream* stream
    cdef uint32_t place
    cdef list strays = []
    carrier.asleep = False
    for owner in carrier.waiting():
        if carrier.dispatcher.find(owner.connection_id) is None:
            strays.append(owner)
    for link in carrier.links:
        place = 0
        while link.session is not None:
            stream = table_next(&link.session.table, &place)
            if stream == NULL:
                break
            if stream.state == OPENED:
                owner = <LinkStream> stream.owner
                if not owner.detached and carrier.dispatcher.find(owner.connection_id) is None:
                    strays.append(owner)
    for owner in strays:        # their clients have stayed behind, to be told that they must come again
        owner.take_shutdown(None, SYSTEM_SHUTDOWN)
    for owner in lost:
        owner.tell_client()
    carrier.poller.look_at_clock()
    for link in carrier.links:
        link.sweep(False)
