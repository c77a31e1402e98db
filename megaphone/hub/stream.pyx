"""One client's stream on a link: a `Connection` of the dispatcher whose bytes come and go in frames.

    HubLink.on_data ─► take_client_bytes ─► Dispatcher.put_data ─► DirectStream        get_data ─► GET_DATA
    HubLink.on_room ─► offer ─┐
    SEND_DATA ◄───────────────┴─ waiting ◄─ deliver ◄─ Dispatcher.send_data ◄─ DirectStream

Towards the server no byte is kept here: the upstream's sender has them, and credit is given when that one takes more.
Towards the edge the session's ring takes what credit and fairness allow; the rest of the one read that brought it waits
here, and the upstream socket is not read meanwhile.

    CONNECTING ─► RELAYING ─ the server's end, its last words wait ─► ENDING ─► ENDED
         └──────────── SHUTDOWN, or nothing waits ─────────────────────────────────▲
"""

cimport cython
from libc.string cimport memcmp, memcpy, memmove, memset

from megaphone.dispatch.counters cimport *
from megaphone.dispatch.dispatcher cimport DELIVERED, FULL, GONE, Owner
from megaphone.dispatch.mailbox cimport Chunk
from megaphone.sockets.poller cimport TICKS_PER_SECOND
from megaphone.wire.link cimport CONNECTION_LOST, CLOSED, DATA_LIMIT_BYTES
from megaphone.wire.link cimport REMOTE_CONNECTION_FAILED as SERVER_UNREACHABLE

from megaphone.hub import facts as client_facts
from megaphone.hub.reasons import LINK_REASON_OF_CONDITION, REASON_OF_LINK_REASON
from megaphone.sockets.client_address import address_text

STATE_NAMES = ("connecting", "relaying", "closing", "closed")

# The gauge that counts each state.
cdef int GAUGE[4]
GAUGE[:] = [OPEN_CONNECTING, OPEN_RELAYING, OPEN_CLOSING, -1]

cdef const char* GOODBYE = b"</stream:stream>"

cdef uint8_t frame_room[DATA_LIMIT_BYTES]       # where the chunks of one frame are put together


@cython.no_gc
cdef class HubStream(Connection):
    """One client's stream on a link, from OPEN to the last SHUTDOWN."""

    cdef void enter(self, int state):
        cdef uint64_t* slots = self.hub.board.slots
        if GAUGE[self.state] >= 0:
            slots[GAUGE[self.state]] -= 1
        self.state = state
        if GAUGE[state] >= 0:
            slots[GAUGE[state]] += 1

    cdef void begin(self, object facts):
        """The client has connected to the edge; the dispatcher has registered this."""
        cdef bytes address
        self.hub.board.slots[<int> OPEN_CONNECTING] += 1
        self.opened_ticks = self.hub.poller.now_ticks
        self.facts = facts
        address, self.port = client_facts.client_address(facts)
        memcpy(self.address, <const char*> address, 16)
        owner = self.hub.open_uplink(self)
        if isinstance(owner, str):
            self.end(owner, <int> RESOURCE_CONSTRAINT if owner == "resource-constraint" else <int> REMOTE_CONNECTION_FAILED)
        else:
            self.owner = owner
            self.hub.dispatcher.get_data(self.id)

    # --- client to server ------------------------------------------------------------

    cdef void take_client_bytes(self, const uint8_t* data, size_t length):
        self.bytes_in += length
        self.untaken += length
        self.hub.board.slots[<int> BYTES_IN] += length
        self.hub.dispatcher.put_data(self, data, length)

    cdef void pause_reading(self):
        pass            # without get_data no credit is given, and the edge sends nothing more

    cdef void resume_reading(self):
        if self.untaken and self.stream != NULL:
            self.link.took(self.stream, self.untaken)
            self.untaken = 0

    # --- server to client ------------------------------------------------------------

    cdef int deliver(self, const uint8_t* data, size_t length):
        """The server's bytes: into the link's ring as far as it takes them; FULL asks the owner to wait for take_room."""
        cdef size_t taken = 0
        if self.state >= ENDING:
            return GONE
        if self.state == CONNECTING:
            self.enter(RELAYING)
            self.facts = None
        self.note_tail(data, length)
        self.bytes_out += length
        self.hub.board.slots[<int> BYTES_OUT] += length
        if self.waiting.size == 0:
            taken = self.link.put_data(self.stream, data, length)
            if taken == length:
                return DELIVERED
        self.hub.board.slots[<int> MAILBOX_FULL] += 1
        if not self.hub.poller.chunks.put(&self.waiting, data + taken, length - taken):
            self.end("resource-constraint", RESOURCE_CONSTRAINT)    # without memory for them the bytes are lost
            return GONE
        return FULL

    cdef void offer(self):
        """The link takes something again: what waits, then what the server has to say."""
        cdef Chunk* chunk
        cdef size_t length, part, taken
        cdef Owner owner
        while self.waiting.size:
            length = 0
            chunk = self.waiting.head
            while chunk != NULL and length < DATA_LIMIT_BYTES:
                part = chunk.end - chunk.begin
                if part > DATA_LIMIT_BYTES - length:
                    part = DATA_LIMIT_BYTES - length
                memcpy(frame_room + length, chunk.data + chunk.begin, part)
                length += part
                chunk = chunk.next
            taken = self.link.put_data(self.stream, frame_room, length)
            self.hub.poller.chunks.take(&self.waiting, taken)
            if taken < length:
                return
        owner = self.owner
        if self.state == ENDING:
            self.finish_end()
        elif owner is not None:
            owner.take_room(self)

    cdef void note_tail(self, const uint8_t* data, size_t length) noexcept:
        """Keeps the server's last bytes: whether it has said </stream:stream> is known only when it hangs up."""
        if length >= GOODBYE_BYTES:
            memcpy(self.tail, data + length - GOODBYE_BYTES, GOODBYE_BYTES)
        else:
            memmove(self.tail, self.tail + length, GOODBYE_BYTES - length)
            memcpy(self.tail + GOODBYE_BYTES - length, data, length)

    # --- the end ------------------------------------------------------------

    cdef void end(self, str condition, int reason):
        """Ends the stream: after the server's last words SHUTDOWN with the link's word for `condition` ("" for none)."""
        if self.state >= ENDING:
            return
        self.reason = reason
        if condition != "remote-connection-failed":
            self.link_reason = LINK_REASON_OF_CONDITION[condition]
        elif memcmp(self.tail, GOODBYE, GOODBYE_BYTES) == 0:
            self.link_reason = CLOSED           # it said goodbye before it hung up
            self.reason = SERVER_CLOSED
        else:
            self.link_reason = CONNECTION_LOST if self.bytes_out else SERVER_UNREACHABLE
        self.detach()
        if self.waiting.size:
            self.deadline_ticks = self.hub.poller.now_ticks + self.hub.slow_ticks
            self.enter(ENDING)
        else:
            self.finish_end()

    cdef void detach(self):
        """Lets go of the upstream socket, which gets what is on its way and then FIN."""
        cdef Owner owner = self.owner
        if owner is not None:
            self.owner = None
            owner.take_shutdown(self, self.reason)

    cdef void finish_end(self):
        self.link.close_stream(self.stream, self.link_reason, "")
        self.release()

    cdef void take_link_end(self, int reason):
        """The edge has ended the stream, or the link is gone: the server sees its client hang up."""
        if self.state == ENDED:
            return
        if self.state != ENDING:
            self.reason = REASON_OF_LINK_REASON[reason]
        self.detach()
        self.release()

    cdef void release(self):
        self.enter(ENDED)
        self.hub.board.slots[<int> CLOSED_BY_REASON + self.reason] += 1
        if self.hub.on_closed is not None:
            self.hub.on_closed(self, self.reason)
        self.hub.poller.chunks.clear(&self.waiting)
        self.facts = None
        self.stream = NULL
        self.link = None
        self.hub.dispatcher.release(self)

    cdef void take_tick(self, uint32_t now_ticks):
        """About once a second: has something taken too long?"""
        cdef Owner owner = self.owner
        if self.state == ENDING:
            if now_ticks >= self.deadline_ticks:
                self.finish_end()
        elif owner is not None:
            owner.take_tick(self, now_ticks)

    # --- for the worker and operators ------------------------------------------------------------

    def finish(self, str condition, int reason):
        """Ends the stream; the edge tells the client `condition` ("" for none)."""
        self.end(condition, reason)

    def proxy_header(self):
        """The PROXY v2 header that tells the server about this client."""
        return client_facts.proxy_header(self.facts)

    @property
    def closing(self):
        """Whether the end has begun."""
        return self.state >= ENDING

    def describe(self):
        """What an operator sees of this stream (docs/reference/command-line.md, `connections`)."""
        return {
            "id": f"{self.id:016x}",
            "worker": self.hub.dispatcher.worker,
            "state": STATE_NAMES[self.state],
            "address": address_text(<bytes> self.address[:16]),
            "port": self.port,
            "upstream": None if self.owner is None else self.owner.upstream_name(),
            "age_seconds": round((self.hub.poller.now_ticks - self.opened_ticks) / TICKS_PER_SECOND, 3),
            "bytes_in": self.bytes_in,
            "bytes_out": self.bytes_out,
        }


def stream_bytes():
    """The bytes of the objects that one idle stream keeps on the link's side, without its place in the session."""
    return HubStream.__basicsize__
