"""Stream management: counters, queue, limits; and two ends that lose their connection again and again."""

from __future__ import annotations

from collections import deque
from xml.etree.ElementTree import fromstring

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from megaphone.stream import moving, resumption
from megaphone.stream.jid import JID
from megaphone.stream.moving import ManagementSnapshot
from megaphone.stream.nonza import Ack, AckRequest, Resume, read_nonza
from megaphone.stream.resumption import EndedSessions, HandledTooManyError, SMLimits, StreamManagement

NEAR_THE_END = (1 << 32) - 3


def with_stanzas(count: int, *, start: int = 0, limits: SMLimits | None = None) -> StreamManagement:
    management = StreamManagement("id", limits or SMLimits())
    management.acknowledged = start
    for number in range(count):
        assert management.sent(b"<m%d/>" % number)
    return management


def test_acknowledged_stanzas_are_forgotten() -> None:
    management = with_stanzas(4)
    assert (len(management), management.queued_bytes) == (4, 20)
    assert management.acknowledge(0) == 0
    assert management.acknowledge(3) == 3
    assert (len(management), management.queued_bytes, management.sent_count) == (1, 5, 4)
    assert management.acknowledge(4) == 1
    assert (len(management), management.queued_bytes) == (0, 0)


def test_counts_go_round() -> None:
    management = with_stanzas(5, start=NEAR_THE_END)
    assert management.sent_count == 2
    assert management.acknowledge((1 << 32) - 1) == 2
    assert management.acknowledge(1) == 2
    assert management.resume(1) == (b"<m4/>",)
    management.handled = (1 << 32) - 1
    management.received()
    assert management.handled == 0


@pytest.mark.parametrize(("start", "h"), [(0, 4), (0, (1 << 32) - 1), (7, 6), (NEAR_THE_END, 1), (NEAR_THE_END, 5)])
def test_a_count_of_what_was_never_sent(start: int, h: int) -> None:
    management = with_stanzas(3, start=start)
    with pytest.raises(HandledTooManyError) as caught:
        management.acknowledge(h)
    sent = (start + 3) % (1 << 32)
    assert (
        b"<undefined-condition xmlns='urn:ietf:params:xml:ns:xmpp-streams'/>"
        b"<text xmlns='urn:ietf:params:xml:ns:xmpp-streams' xml:lang='en'>"
        b"You acknowledged %d stanzas, but only %d were sent to you</text>"
        b"<handled-count-too-high xmlns='urn:xmpp:sm:3' h='%d' send-count='%d'/></stream:error></stream:stream>"
        % (h, sent, h, sent)
    ) in caught.value.answer
    assert len(management) == 3
    with pytest.raises(HandledTooManyError):
        management.resume(h)


def test_limits() -> None:
    management = StreamManagement("id", SMLimits(stanzas=2, bytes=100))
    assert [management.sent(b"<a/>") for _ in range(3)] == [True, True, False]
    management = StreamManagement("id", SMLimits(stanzas=9, bytes=10))
    assert [management.sent(b"<a/>") for _ in range(3)] == [True, True, False]
    assert management.take_all() == [b"<a/>"] * 3  # the one that was too much is given back too
    assert (len(management), management.queued_bytes) == (0, 0)


def test_requests_are_made_one_at_a_time() -> None:
    management = with_stanzas(0, limits=SMLimits(request_every=3))
    assert not management.wants_request(pause=True)
    management.sent(b"<a/>")
    management.sent(b"<a/>")
    assert not management.wants_request(pause=False)
    assert management.wants_request(pause=True)
    for _ in range(5):
        management.sent(b"<a/>")
        assert not management.wants_request(pause=True)
    management.acknowledge(2)
    assert management.wants_request(pause=False)  # five wait behind the last request
    management.acknowledge(7)
    assert not management.wants_request(pause=True)


def test_an_acknowledgement_nobody_asked_for_leaves_nothing_to_ask() -> None:
    management = with_stanzas(2)
    management.acknowledge(2)
    assert not management.wants_request(pause=True)


def test_what_is_sent_again_is_asked_about_again() -> None:
    management = with_stanzas(2)
    assert management.wants_request(pause=True)
    assert management.resume(1) == (b"<m1/>",)
    assert management.wants_request(pause=True)


def test_written() -> None:
    assert resumption.answer(4294967295) == b"<a xmlns='urn:xmpp:sm:3' h='4294967295'/>"
    assert resumption.enabled() == b"<enabled xmlns='urn:xmpp:sm:3'/>"
    assert resumption.enabled("a'b", 300) == b"<enabled xmlns='urn:xmpp:sm:3' id='a&apos;b' max='300' resume='true'/>"
    assert resumption.resumed("x", 7) == b"<resumed xmlns='urn:xmpp:sm:3' h='7' previd='x'/>"
    assert fromstring(resumption.failed("item-not-found", 3)).get("h") == "3"
    assert fromstring(resumption.failed("unexpected-request")).get("h") is None
    with pytest.raises(ValueError, match="not a stanza error condition"):
        resumption.failed("no-such-thing")
    assert b"<conflict " in resumption.REPLACED


def test_ids_are_as_random_as_what_they_are_made_of() -> None:
    assert resumption.resumption_id(lambda size: b"\xab" * size) == "ab" * 16


def test_ended_sessions_are_remembered_for_their_owner() -> None:
    juliet, romeo = JID("juliet", "example.org"), JID("romeo", "example.org")
    ended = EndedSessions(limit=2)
    for number, id_ in enumerate("abc"):
        ended.add(id_, juliet, number)
    assert [ended.handled(id_, juliet) for id_ in "abcd"] == [None, 1, 2, None]
    assert ended.handled("c", romeo) is None


class Client:
    """A client's end as XEP-0198 describes it, by lists alone."""

    def __init__(self) -> None:
        self.sent: list[bytes] = []  # all that it ever sent
        self.acked = 0
        self.received: list[bytes] = []


class TwoEnds(RuleBasedStateMachine):
    """Both ends send numbered stanzas over a connection that drops all that is under way when it is cut."""

    @initialize(start=st.sampled_from([0, NEAR_THE_END, (1 << 31) - 1]))
    def begin(self, start: int) -> None:
        self.start = start
        self.server = StreamManagement("id", SMLimits(request_every=3))
        self.server.acknowledged = self.server.handled = start
        self.client = Client()
        self.sent: list[bytes] = []
        self.received: list[bytes] = []
        self.to_client: deque[bytes] = deque()
        self.to_server: deque[bytes] = deque()
        self.connected = True

    def count(self, number: int) -> int:
        return (self.start + number) % (1 << 32)

    @rule(number=st.integers(1, 8))
    def server_sends(self, number: int) -> None:
        for _ in range(number):
            stanza = b"<message id='s%d'/>" % len(self.sent)
            self.sent.append(stanza)
            assert self.server.sent(stanza)
            if self.connected:
                self.to_client.append(stanza)
                self.ask(pause=False)
        self.ask(pause=True)

    def ask(self, *, pause: bool) -> None:
        if self.connected and self.server.wants_request(pause=pause):
            self.to_client.append(resumption.REQUEST)

    @rule(number=st.integers(1, 8))
    def client_sends(self, number: int) -> None:
        for _ in range(number):
            stanza = b"<message id='c%d'/>" % len(self.client.sent)
            self.client.sent.append(stanza)
            if self.connected:
                self.to_server.append(stanza)

    @rule()
    def server_moves(self) -> None:
        data = msgspec.msgpack.encode(moving.snapshot(self.server))
        before = self.server
        self.server = moving.restore(msgspec.msgpack.decode(data, type=ManagementSnapshot), SMLimits(request_every=3))
        assert self.server is not before
        assert all(getattr(self.server, name) == getattr(before, name) for name in StreamManagement.__slots__)

    @rule()
    @precondition(lambda self: self.connected)
    def client_asks(self) -> None:
        self.to_server.append(b"<r xmlns='urn:xmpp:sm:3'/>")

    @rule()
    @precondition(lambda self: self.connected)
    def client_tells(self) -> None:
        self.to_server.append(b'<a xmlns="urn:xmpp:sm:3" h="%d"/>' % self.count(len(self.client.received)))

    @rule(number=st.integers(1, 20))
    def client_reads(self, number: int) -> None:
        for _ in range(min(number, len(self.to_client))):
            data = self.to_client.popleft()
            if data.startswith(b"<message"):
                self.client.received.append(data)
            elif data == resumption.REQUEST:
                self.client_tells()
            else:
                self.client.acked = int(fromstring(data).get("h", "")) - self.start & 0xFFFFFFFF

    @rule(number=st.integers(1, 20))
    def server_reads(self, number: int) -> None:
        for _ in range(min(number, len(self.to_server))):
            data = self.to_server.popleft()
            if data.startswith(b"<message"):
                self.received.append(data)
                self.server.received()
                continue
            match read_nonza(data):
                case AckRequest():
                    self.to_client.append(resumption.answer(self.server.handled))
                case Ack(h):
                    self.server.acknowledge(h)
                    self.ask(pause=True)

    @rule()
    @precondition(lambda self: self.connected)
    def cut(self) -> None:
        self.connected = False
        self.to_client.clear()
        self.to_server.clear()

    @rule()
    @precondition(lambda self: not self.connected)
    def resume(self) -> None:
        asked = read_nonza(
            b"<resume xmlns='urn:xmpp:sm:3' h='%d' previd='id'/>" % self.count(len(self.client.received))
        )
        assert isinstance(asked, Resume)
        answer = resumption.resumed(asked.previd, self.server.handled)
        again = self.server.resume(asked.h)
        self.connected = True
        self.client.acked = int(fromstring(answer).get("h", "")) - self.start & 0xFFFFFFFF
        self.to_client.extend(again)
        self.to_server.extend(self.client.sent[self.client.acked :])
        self.ask(pause=True)

    @invariant()
    def once_and_in_order(self) -> None:
        if not hasattr(self, "server"):
            return
        assert self.client.received == self.sent[: len(self.client.received)]
        assert self.received == self.client.sent[: len(self.received)]
        assert self.server.queued_bytes == sum(map(len, self.sent[len(self.sent) - len(self.server) :]))

    def teardown(self) -> None:
        if not hasattr(self, "server"):
            return
        if not self.connected:
            self.resume()
        while self.to_client or self.to_server:
            self.client_reads(1000)
            self.server_reads(1000)
        assert self.client.received == self.sent
        assert self.received == self.client.sent
        assert len(self.server) == 0, "everything was asked about and acknowledged"


TestTwoEnds = TwoEnds.TestCase


@given(st.integers(0, (1 << 32) - 1), st.integers(0, 20), st.integers(0, (1 << 32) - 1))
def test_any_count_is_taken_or_refused(start: int, number: int, h: int) -> None:
    management = with_stanzas(number, start=start)
    fits = h in {(start + each) % (1 << 32) for each in range(number + 1)}
    try:
        management.acknowledge(h)
    except HandledTooManyError:
        assert not fits
        assert len(management) == number
    else:
        assert fits
        assert management.acknowledged == h
