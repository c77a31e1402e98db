"""A link at the hub's end: the session core in the server's role, with a HubStream for each of its streams."""

from libc.stdint cimport uint8_t, uint64_t

from megaphone.dispatch.counters cimport *
from megaphone.hub.socket cimport LinkSocket
from megaphone.hub.stream cimport HubStream
from megaphone.wire.link_greeting cimport LinkGreeting
from megaphone.wire.link_session cimport ATTACHED
from megaphone.wire.link_streams cimport Stream

from megaphone.wire.link import LinkReason, Side
from megaphone.wire.link_messages import reason_text


def welcome(LinkSocket socket, LinkGreeting greeting):
    """Goes on with the session that a proven HELLO names, or begins it; otherwise the greeting is refused."""
    cdef Hub hub = socket.hub
    cdef HubLink link = hub.links.get(greeting.hello.session)
    settings = hub.settings
    if link is None:
        if hub.draining:
            greeting.refuse(LinkReason.SYSTEM_SHUTDOWN, "the hub is draining")
            return
        if len(hub.links) >= settings.links:
            greeting.refuse(LinkReason.TOO_MANY_LINKS, f"{len(hub.links)} links are there, which is the most")
            return
        link = HubLink(
            Side.SERVER, settings.secret, greeting.hello.session, window_bytes=settings.window_bytes,
            streams_limit=settings.streams, grace_seconds=settings.grace_seconds,
        )
        link.hub = hub
        hub.links[greeting.hello.session] = link
    if link.accept(greeting, hub.poller.now_ns):
        socket.carry(link)
        hub.on_link("link attached", peer=socket.peer, link=link.name, epoch=link.epoch, streams=link.stream_count())


cdef class HubLink(CarriedLink):
    """One edge's link and its streams."""

    cdef void on_opened(self, Stream* stream, object facts):
        cdef HubStream opened = HubStream.__new__(HubStream)
        cdef uint64_t* slots = self.hub.board.slots
        opened.hub = self.hub
        opened.link = self
        opened.stream = stream
        if not self.hub.dispatcher.register(opened):
            slots[<int> LIMIT_WORKER_CONNECTIONS] += 1
            slots[<int> CLOSED_BY_REASON + <int> RESOURCE_CONSTRAINT] += 1
            self.close_stream(stream, LinkReason.RESOURCE_CONSTRAINT, "the hub is full")
            return
        slots[<int> ACCEPTED] += 1
        # so that a successor after a crash goes on where we were
        slots[<int> GENERATION] = self.hub.dispatcher.generation
        self.set_owner(stream, opened)
        opened.begin(facts)

    cdef void on_data(self, Stream* stream, const uint8_t* data, size_t length):
        (<HubStream> stream.owner).take_client_bytes(data, length)

    cdef void on_room(self, Stream* stream):
        cdef HubStream offering = <HubStream> stream.owner  # held, because it may end
        offering.offer()

    cdef void on_shutdown(self, Stream* stream, int reason, str text):
        cdef HubStream ended = <HubStream> stream.owner
        ended.take_link_end(reason)

    cdef void on_welcome(self, bint resumed):
        self.hub.board.slots[<int> HUB_REATTACHES if resumed else <int> HUB_ATTACHES] += 1

    cdef void on_end(self, int reason, str text):
        self.count()
        self.hub.links.pop(self.session_id, None)
        self.hub.on_link("link ended", link=self.name, reason=reason_text(reason), text=text)

    cdef void count(self):
        """Adds to the board what has passed since the last time."""
        cdef uint64_t* slots = self.hub.board.slots
        slots[<int> HUB_FRAMES_IN] += self.frames_in - self.counted_in
        slots[<int> HUB_FRAMES_OUT] += self.frames_out - self.counted_out
        self.counted_in = self.frames_in
        self.counted_out = self.frames_out
        if self.ring.written < self.counted_bytes or self.received_bytes < self.counted_received:
            self.counted_bytes = self.counted_received = 0      # a new session has begun under the same name
        slots[<int> HUB_LINK_BYTES_OUT] += self.ring.written - self.counted_bytes
        self.bytes_out += self.ring.written - self.counted_bytes
        self.bytes_in += self.received_bytes - self.counted_received
        self.counted_bytes = self.ring.written
        self.counted_received = self.received_bytes

    def describe(self):
        """What an operator sees of this link (docs/reference/command-line.md, `links`)."""
        state = "broken"
        if self.state == ATTACHED:
            state = "draining" if self.drained or self.draining else "attached"
        self.count()
        return {
            "worker": self.hub.dispatcher.worker,
            "upstream": None,
            "peer": None if self.socket is None else self.socket.peer,
            "name": self.name,
            "state": state,
            "since_seconds": round((self.hub.poller.now_ns - self.changed_ns) / 1e9, 3),
            "streams": self.stream_count(),
            "waiting": None,
            "frames_in": self.frames_in,
            "frames_out": self.frames_out,
            "bytes_in": self.bytes_in,
            "bytes_out": self.bytes_out,
            "round_trip_seconds": None,
            "kept_bytes": self.kept_bytes(),
            "unsent_bytes": self.unsent_bytes(),
            "reattached": self.reattached_times,
            "trouble": self.trouble,
        }

    def leave(self):
        """Says DRAIN: the edge is to place new streams elsewhere."""
        self.drain()

    def close(self, int reason, str text):
        """The orderly end of the link, with the streams it still has."""
        self.end(reason, text)
