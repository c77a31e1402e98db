"""Clients' streams: whole stanzas arrive with the `from` that is known, and nothing else about them has changed."""

from __future__ import annotations

import re

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from lxml import etree

from megaphone.config.schema import Limits
from megaphone.dispatch.counters import Reason
from megaphone.edge.limits import ClientLimits
from megaphone.stream.stanza import Stanza
from tests.unit.edge.conftest import MakeEdge
from tests.unit.edge.edge_under_test import EdgeUnderTest, Peer
from tests.unit.embedded.host_under_test import ScriptedHost, Session
from tests.unit.wire.framing import END, HEADER
from tests.unit.wire.stanzas import stanzas
from tests.unit.wire.streams import PREFIXES, STREAM_SCOPE, URIS, attribute

ROMEO = "romeo@example.org/it's"
FROM = b" from='romeo@example.org/it&apos;s'"
KINDS = {"message": 0, "presence": 1, "iq": 2}


def meaning(stanza: bytes, header: bytes = HEADER, *, from_: str | None = None) -> list[object]:
    """Everything that lxml sees in a stanza below a header, its `from` replaced."""
    (element,) = etree.fromstring(header + stanza + END)
    if from_ is not None:
        element.set("from", from_)
    return [(each.tag, dict(each.attrib), each.nsmap, each.text, each.tail) for each in element.iter()]


def test_the_sender_is_who_has_logged_in(make_edge: MakeEdge) -> None:
    host = ScriptedHost(make_edge())
    client = host.client()
    client.send(
        b"<message to='juliet@example.org'><body>1</body></message>"
        b"<message from='juliet@example.org' id='2'/>"
        b"<iq\n\tfrom = \"a\"  type='get'><from>x</from></iq>"
        b"<presence xmlns:x='urn:x' x:from='kept' From='kept'/>"
        b"<r xmlns='urn:xmpp:sm:3' from='kept'/>"
    )
    host.edge.until(lambda: len(host.elements) == 1, "all of it")
    assert host.stanzas == [
        (0, b"<message%b to='juliet@example.org'><body>1</body></message>" % FROM),
        (0, b"<message%b id='2'/>" % FROM),
        (2, b"<iq%b  type='get'><from>x</from></iq>" % FROM),
        (1, b"<presence%b xmlns:x='urn:x' x:from='kept' From='kept'/>" % FROM),
    ]
    assert host.elements == [b"<r xmlns='urn:xmpp:sm:3' from='kept'/>"]


def test_what_the_header_declares_goes_along_once(make_edge: MakeEdge) -> None:
    host = ScriptedHost(make_edge())
    client = host.client(b" xmlns:a='urn:a' xmlns:b='urn:b'")
    client.send(
        b"<message><a:x/></message><message xmlns:a='urn:other'><a:x/></message>"
        b"<message xmlns:b = \"urn:c\" xmlns:a='urn:a'/>"
    )
    host.edge.until(lambda: len(host.stanzas) == 3, "three messages")
    both = b" xmlns:a='urn:a' xmlns:b='urn:b'"
    assert [data for _, data in host.stanzas] == [
        b"<message%b%b><a:x/></message>" % (both, FROM),
        b"<message xmlns:b='urn:b'%b xmlns:a='urn:other'><a:x/></message>" % FROM,
        b"<message%b xmlns:b = \"urn:c\" xmlns:a='urn:a'/>" % FROM,
    ]


@st.composite
def sent(draw: st.DrawFn) -> tuple[bytes, bytes]:
    """What a header declares beyond the usual, and a stanza below it."""
    declared = draw(st.dictionaries(PREFIXES.filter(lambda prefix: prefix != "stream"), URIS, max_size=2))
    pieces = [draw(attribute(f"xmlns:{prefix}", st.just(uri))) for prefix, uri in declared.items()]
    return "".join(pieces).encode(), draw(stanzas(STREAM_SCOPE | declared)).encode()


@settings(deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=150)
@given(sent(), st.booleans())
def test_recipients_see_the_same(make_edge: MakeEdge, said: tuple[bytes, bytes], plain: bool) -> None:
    """Whatever a client sends as a stanza, and whichever way it goes, only its `from` has changed."""
    declared, stanza = said
    host = ScriptedHost(make_edge())
    host.plain_sender = plain
    client = host.client(declared)
    other = host.client()
    header = HEADER.replace(b" to='example.org'", b" to='example.org'" + declared)
    (element,) = etree.fromstring(header + stanza + END)
    name = etree.QName(element)
    is_stanza = name.namespace == "jabber:client" and name.localname in KINDS
    if "to" in element.attrib:
        host.streams.plain_targets[element.attrib["to"].encode()] = Session(host.opened[1], plain_sender=True)
    client.send(stanza + b"<end xmlns='urn:end'/>")
    host.edge.until(lambda: bool(host.elements) and b"urn:end" in host.elements[-1], "the end")
    if not is_stanza and name.localname in KINDS:
        (refused,) = host.stanzas  # the host has to look at its namespace
        with pytest.raises(ValueError, match="unsupported-stanza-type"):
            Stanza.read(refused[1])
    elif not is_stanza:
        assert host.elements[0] == stanza
        assert host.stanzas == []
    elif host.stanzas:
        ((kind, got),) = host.stanzas
        assert kind == KINDS[name.localname]
        assert meaning(got) == meaning(stanza, header, from_=ROMEO)
    else:
        assert plain
        assert name.localname == "message"
        assert element.get("type") in (None, "chat", "normal", "headline")
        host.opened[1].say(b"<end/>")
        got = other.expect_through(b"<end/>").removesuffix(b"<end/>")
        assert meaning(got) == meaning(stanza, header, from_=ROMEO)
    host.edge.close()


# --- the direct way ---

MESSAGE = b"<message to='juliet@example.org' type='%b'><body>hi</body></message>"
PLAIN = b"<message to='juliet@example.org'><body>hi</body></message>"


def two(make_edge: MakeEdge, declared: bytes = b"") -> ScriptedHost:
    """Romeo, who may send directly, and Juliet, who may be sent to directly."""
    host = ScriptedHost(make_edge())
    host.plain_sender = True
    host.client(declared)
    host.client()
    for key in (b"juliet@example.org", b"juliet@example.org/it"):
        host.streams.plain_targets[key] = Session(host.opened[1], plain_sender=True)
    return host


@pytest.mark.parametrize(
    "message",
    [
        PLAIN,
        *(MESSAGE % each for each in (b"chat", b"normal", b"headline")),
        b"<message xmlns='jabber:client' to='juliet@example.org'/>",
    ],
)
def test_a_plain_message_goes_straight(make_edge: MakeEdge, message: bytes) -> None:
    host = two(make_edge)
    romeo, juliet = host.edge.peers
    romeo.send(message)
    juliet.expect(message.replace(b"<message", b"<message" + FROM))
    assert host.stanzas == []


@pytest.mark.parametrize(
    "message",
    [
        MESSAGE % b"groupchat",
        MESSAGE % b"error",
        MESSAGE % b"chit",
        MESSAGE % b"ch&#97;t",
        b"<message><body>to nobody</body></message>",
        b"<message to='nobody@example.org'/>",
        b"<message to='juliet@ex&#97;mple.org'/>",
        b"<message to=''/>",
        b"<c:message xmlns:c='jabber:client' to='juliet@example.org'/>",
        b"<message xmlns='urn:x' to='juliet@example.org'/>",
        b"<presence to='juliet@example.org'/>",
        b"<iq to='juliet@example.org' type='get' id='1'><x xmlns='urn:x'/></iq>",
    ],
)
def test_all_else_is_looked_at(make_edge: MakeEdge, message: bytes) -> None:
    host = two(make_edge)
    romeo, juliet = host.edge.peers
    romeo.send(message)
    host.edge.until(lambda: bool(host.stanzas), "a look at it")
    juliet.expect_nothing()


def test_it_depends_on_the_sender(make_edge: MakeEdge) -> None:
    host = two(make_edge)
    romeo, juliet = host.edge.peers
    stream = host.opened[0]
    stream.session.plain_sender = False
    romeo.send(PLAIN)
    host.edge.until(lambda: len(host.stanzas) == 1, "a look at it")
    stream.session.plain_sender = True
    stream.resumable(object())  # what it says has to be counted
    romeo.send(PLAIN)
    host.edge.until(lambda: len(host.stanzas) == 2, "a look at it")
    stream.resumable(None)
    romeo.send(PLAIN)
    juliet.expect(PLAIN.replace(b"<message", b"<message" + FROM))
    assert len(host.stanzas) == 2


def test_whose_header_declares_more_is_looked_at(make_edge: MakeEdge) -> None:
    host = two(make_edge, b" xmlns:x='urn:x'")
    host.edge.peers[0].send(PLAIN)
    host.edge.until(lambda: bool(host.stanzas), "a look at it")


def test_who_acknowledges_gets_it_by_the_queue(make_edge: MakeEdge) -> None:
    host = two(make_edge)
    host.opened[1].resumable(object())
    host.edge.peers[0].send(PLAIN)
    host.edge.until(lambda: bool(host.queued), "the queue")
    assert host.queued == [PLAIN.replace(b"<message", b"<message" + FROM)]
    assert host.stanzas == []


# --- the stream ---


def test_byte_by_byte(make_edge: MakeEdge) -> None:
    host = ScriptedHost(make_edge())
    client = host.client()
    for byte in PLAIN + b" " + PLAIN:
        client.send(bytes([byte]))
    host.edge.until(lambda: len(host.stanzas) == 2, "two messages")
    assert {data for _, data in host.stanzas} == {PLAIN.replace(b"<message", b"<message" + FROM)}


def test_while_it_waits_nothing_is_taken(make_edge: MakeEdge) -> None:
    host = ScriptedHost(make_edge(), binding=False)
    client = host.client()
    stream = host.opened[0]
    taken = host.take_element

    def wait(stream_, data: bytes) -> None:  # type: ignore[no-untyped-def]
        taken(stream_, data)
        if data == b"<wait/>":
            stream_.wait()

    host.take_element = wait  # type: ignore[method-assign]
    client.send(b"<a/><wait/><b/><c/>")
    host.edge.until(lambda: len(host.elements) == 2, "the first two")
    client.expect_nothing()
    assert host.elements == [b"<a/>", b"<wait/>"]
    stream.go_on()
    assert host.elements == [b"<a/>", b"<wait/>", b"<b/>", b"<c/>"]
    stream.wait()
    assert stream.take_held() == b""
    stream.go_on()
    client.send(b"<d/>")
    host.edge.until(lambda: host.elements[-1] == b"<d/>", "the last")


def test_how_it_ends(make_edge: MakeEdge) -> None:
    host = ScriptedHost(make_edge())
    for act, ended, reason in (
        (lambda peer: peer.send(b"</stream:stream>"), [None], None),
        (lambda peer: peer.finish(), [False], Reason.CLIENT_RESET),
        (lambda peer: peer.abort(), [], Reason.CLIENT_RESET),
    ):
        client = host.client()
        act(client)
        if reason is None:
            host.edge.until(lambda: bool(host.ended), "the end")
            host.opened[-1].end("", Reason.CLIENT_CLOSED)
            reason = Reason.CLIENT_CLOSED
        host.edge.until(lambda: bool(host.gone), "gone")
        assert (host.ended, host.gone) == (ended, [(host.opened[-1], reason)])
        assert host.opened[-1].connection_id == 0
        host.opened[-1].deliver(b"<message/>")  # nobody is there
        host.ended.clear()
        host.gone.clear()


def test_who_reads_nothing_is_told_of_once(make_edge: MakeEdge) -> None:
    host = ScriptedHost(make_edge())
    client = host.client()
    client.reading = False
    for _ in range(300):
        host.opened[0].deliver(b"<message><body>%b</body></message>" % (b"x" * 65_000))
    assert host.overflows == 1
    client.reading = True
    host.edge.until(lambda: client.total > 300 * 65_000, "all of it")


def test_one_for_many(make_edge: MakeEdge) -> None:
    host = two(make_edge)
    romeo, juliet = host.edge.peers
    sessions = [stream.session for stream in host.opened]
    said = b"<message to='room' from='other' type='groupchat'><body>all</body></message>"
    assert host.streams.fan_out(sessions, said, "room@rooms.example.org/it's") == 2
    for peer, name in ((romeo, b"romeo"), (juliet, b"juliet")):
        peer.expect(
            b"<message to='%b@example.org/it&apos;s' from='room@rooms.example.org/it&apos;s' type='groupchat'>"
            b"<body>all</body></message>" % name
        )


STEPS = st.one_of(
    st.tuples(st.just("all"), st.integers(0, 2)),
    st.tuples(st.just("some"), st.sets(st.integers(0, 2))),
    st.tuples(st.just("one"), st.integers(0, 2)),
    st.tuples(st.just("say"), st.integers(0, 2)),
    st.tuples(st.just("turn"), st.just(0)),
)
NAMES = (b"message", b"presence", b"iq")


@settings(deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=60)
@given(st.lists(STEPS, max_size=25))
def test_what_goes_to_many_keeps_its_place(make_edge: MakeEdge, steps: list[tuple[str, object]]) -> None:
    """A crowd gets its stanzas together at the end of a turn, and still in order with all else that is said."""
    host = ScriptedHost(make_edge())
    clients = [host.client() for _ in range(3)]
    crowd = {number: Session(stream, plain_sender=True) for number, stream in enumerate(host.opened)}
    expected: list[list[bytes]] = [[], [], []]
    for number, (what, whom) in enumerate(steps):
        mark = b"<body>%d</body>" % number
        if what in ("all", "some"):
            name = NAMES[whom] if isinstance(whom, int) else NAMES[0]
            reached = [0, 1, 2] if isinstance(whom, int) else sorted(whom)  # type: ignore[call-overload]
            sessions = crowd if what == "all" else [crowd[each] for each in reached]
            assert host.streams.fan_out(sessions, b"<%b>%b</%b>" % (name, mark, name), "den@x.org/it's") == len(reached)
            for each in reached:
                expected[each].append(mark)
        elif what == "turn":
            host.edge.turn()
        else:
            assert isinstance(whom, int)
            stream = host.opened[whom]
            (stream.deliver if what == "one" else stream.say)(b"<message>%b</message>" % mark)
            expected[whom].append(mark)
    for number, client in enumerate(clients):
        host.opened[number].say(b"<end/>")
        got = client.expect_through(b"<end/>")
        assert re.findall(rb"<body>\d+</body>", got) == expected[number]
        assert got.count(b" from='den@x.org/it&apos;s'") == got.count(b" to='")
    host.edge.close()


def test_a_message_to_one_behind_a_message_to_all(make_edge: MakeEdge) -> None:
    """What waits for the end of the turn leaves before it, and neither gets into the other."""
    host = two(make_edge)
    romeo, juliet = host.edge.peers
    sessions = {stream: stream.session for stream in host.opened}
    said = b"<message type='groupchat'><body>%b</body></message>" % (b"all" * 3000)

    def reflect(stream: object, element: int, data: bytes) -> None:
        host.streams.fan_out(sessions, said, "room@rooms.example.org/it's")

    host.take_stanza = reflect  # type: ignore[method-assign]
    romeo.send((MESSAGE % b"groupchat" + PLAIN) * 3)
    for _ in range(3):
        for peer, name in ((romeo, b"romeo"), (juliet, b"juliet")):
            addresses = b" to='%b@example.org/it&apos;s' from='room@rooms.example.org/it&apos;s'" % name
            peer.expect(said.replace(b"<message", b"<message" + addresses))
        juliet.expect(PLAIN.replace(b"<message", b"<message" + FROM))


def resting(edge: EdgeUnderTest) -> Peer:
    """A client of which nothing is due for some seconds."""
    client = ScriptedHost(edge).client()
    edge.sweep()
    return client


def ticks_until_closed(edge: EdgeUnderTest, reason: Reason) -> int:
    began = edge.poller_ticks()
    edge.wait_closed(reason)
    return edge.poller_ticks() - began


def test_the_end_of_a_resting_connection_is_not_late(make_edge: MakeEdge) -> None:
    edge = make_edge(limits=Limits(close_seconds=0.2))
    client = resting(edge)
    edge.only().finish("policy-violation", Reason.KICKED)
    edge.until(lambda: client.received.endswith(END), "the farewell")  # and the client does not hang up
    assert ticks_until_closed(edge, Reason.KICKED) < 3 * 16


def test_a_shorter_limit_counts_for_resting_connections(make_edge: MakeEdge) -> None:
    edge = make_edge()
    resting(edge)
    edge.clients.limits = ClientLimits(Limits(idle_seconds=0.2, close_seconds=0.2))
    assert ticks_until_closed(edge, Reason.IDLE_TIMEOUT) < 3 * 16
