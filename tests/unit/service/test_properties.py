"""What is true of every course of events: the fast path, the number of homes, and no message lost or doubled."""

import re
from collections import Counter

from hypothesis import given, settings
from hypothesis import strategies as st

from tests.unit.service.world import World

USERS = ("juliet", "romeo", "nurse")
CLIENTS = ("juliet/balcony", "juliet/a&b", "romeo/orchard", "romeo/pda", "nurse/hall")
ADDRESSES = (
    *(f"{user}@example.org" for user in USERS),
    *(f"{client.split('/')[0]}@example.org/{client.split('/')[1].replace('&', '&amp;')}" for client in CLIENTS),
    "Juliet@example.org",
    "romeo@example.org/gone",
    "tybalt@example.org",
    "verona@conference.example.org",
    "example.com",
)
CONTENTS = (
    "<body>hi</body>",
    "<composing xmlns='http://jabber.org/protocol/chatstates'/>",
    "<body>x</body><private xmlns='urn:xmpp:carbons:2'/>",
    "<body>x</body><no-store xmlns='urn:xmpp:hints'/>",
    "<received xmlns='urn:xmpp:receipts' id='1'/>",
)
TYPES = ("", " type='chat'", " type='normal'", " type='headline'", " type='groupchat'", " type='error'")

addresses = st.sampled_from(ADDRESSES)
messages = st.builds(
    "<message to='{}'{}>{}</message>".format, addresses, st.sampled_from(TYPES), st.sampled_from(CONTENTS)
)
presences = st.one_of(
    st.builds("<presence><priority>{}</priority></presence>".format, st.sampled_from([-1, 0, 0, 1])),
    st.just("<presence type='unavailable'/>"),
    st.builds("<presence to='{}'/>".format, addresses),
    st.builds(
        "<presence to='{}' type='{}'/>".format,
        addresses,
        st.sampled_from(["subscribe", "subscribed", "unsubscribe", "unsubscribed", "unavailable", "probe"]),
    ),
)
requests = st.one_of(
    st.builds(
        "<iq type='set' id='c'><{} xmlns='urn:xmpp:carbons:2'/></iq>".format, st.sampled_from(["enable", "disable"])
    ),
    st.builds(
        "<iq type='set' id='b'><{} xmlns='urn:xmpp:blocking'><item jid='{}'/></{}></iq>".format,
        st.just("block"),
        addresses,
        st.just("block"),
    ),
    st.just("<iq type='set' id='b'><unblock xmlns='urn:xmpp:blocking'/></iq>"),
    st.just("<iq type='get' id='r'><query xmlns='jabber:iq:roster'/></iq>"),
    st.builds("<iq type='get' id='p' to='{}'><ping xmlns='urn:xmpp:ping'/></iq>".format, addresses),
)
events = st.sampled_from(["ends", "inactive", "active"])
steps = st.tuples(st.sampled_from(CLIENTS), st.one_of(messages, messages, presences, presences, requests, events))


def transcript(world: World, program: list[tuple[str, str]]) -> list[tuple[str, list[bytes]]]:
    """Play a program and return what every client has got of it, step by step."""
    got: list[tuple[str, list[bytes]]] = []
    for name in CLIENTS:
        world.send(name, "<presence/>")
    for name, step in program:
        if step.startswith("<"):
            world.send(name, step)
        elif name in world.sessions:
            if step == "ends":
                world.end(name)
            else:
                world.set_active(name, step == "active")
        for client in (*CLIENTS, "elsewhere"):
            stanzas = [re.sub(rb"id='push-\d+'", b"id='push'", each) for each in world.take(client)]
            got.append((client, stanzas))
    return got


@settings(max_examples=150, deadline=None)
@given(st.lists(steps, max_size=25))
def test_homes_and_the_fast_path_make_no_difference(program: list[tuple[str, str]]) -> None:
    expected = transcript(World(*USERS), program)
    assert transcript(World(*USERS, fast=True), program) == expected
    assert transcript(World(*USERS, homes=3), program) == expected
    assert transcript(World(*USERS, homes=3, fast=True), program) == expected


def test_the_fast_path_is_taken() -> None:
    world = World(fast=True)
    for name in ("juliet/balcony", "romeo/orchard"):
        world.send(name, "<presence/>")
    for name in ("juliet/balcony", "romeo/orchard"):
        assert world.sessions[name].plain_sender
    targets = world.services[0].plain_targets
    assert set(targets) == {
        b"juliet@example.org",
        b"juliet@example.org/balcony",
        b"romeo@example.org",
        b"romeo@example.org/orchard",
    }
    world.send("juliet/chamber", "<presence><priority>-1</priority></presence>")
    assert targets[b"juliet@example.org"] is world.sessions["juliet/balcony"]
    world.send("juliet/chamber", "<presence/>")
    assert b"juliet@example.org" not in targets
    world.send("juliet/chamber", "<iq type='set' id='c'><enable xmlns='urn:xmpp:carbons:2'/></iq>")
    assert b"juliet@example.org/balcony" not in targets
    assert targets[b"juliet@example.org/chamber"] is world.sessions["juliet/chamber"]  # no other wants copies
    assert [world.sessions[name].plain_sender for name in ("juliet/balcony", "juliet/chamber")] == [False, True]
    world.set_active("romeo/orchard", False)
    assert b"romeo@example.org" not in targets
    for name in tuple(world.sessions):
        world.end(name)
    assert targets == {}


numbered = st.tuples(st.just("message"), st.sampled_from(("juliet", "juliet/a", "juliet/b", "juliet/gone")))
changes = st.tuples(
    st.sampled_from(["ends", "loses", "-1", "0", "1", "unavailable"]), st.sampled_from(("juliet/a", "juliet/b"))
)


@settings(max_examples=200, deadline=None)
@given(st.lists(st.one_of(numbered, changes), max_size=30), st.booleans(), st.booleans())
def test_no_message_is_lost_or_doubled(program: list[tuple[str, str]], fast: bool, lossy: bool) -> None:
    world = World(fast=fast)
    kept: Counter[str] = Counter()
    once: set[tuple[str, str]] = set()
    refused: set[str] = set()
    sent = requeued = 0

    def read(name: str, stanzas: list[bytes]) -> None:
        for stanza in stanzas:
            if stanza.startswith(b"<message"):
                number = stanza.split(b"id='")[1].split(b"'")[0].decode()
                assert (name, number) not in once or lossy, "twice to one client"
                once.add((name, number))
                kept[number] += 1

    def collect() -> None:
        for name in ("juliet/a", "juliet/b"):
            if name in world.clients:
                read(name, world.take(name))
        if "romeo/x" in world.clients:
            refused.update(each.split(b"id='")[1].split(b"'")[0].decode() for each in world.take("romeo/x"))

    for verb, name in program:
        if verb == "message":
            sent += 1
            local, _, resource = name.partition("/")
            to = f"{local}@example.org" + (f"/{resource}" if resource else "")
            world.send("romeo/x", f"<message to='{to}' type='chat' id='{sent}'><body>x</body></message>")
        elif verb in ("ends", "loses"):
            if name in world.sessions:
                if verb == "ends" or not lossy:
                    collect()
                unread = tuple(world.take(name))  # in the client's eyes it never came
                requeued += len(unread)
                world.end(name, requeue=unread)
        elif verb == "unavailable":
            world.send(name, "<presence type='unavailable'/>")
        else:
            world.send(name, f"<presence><priority>{verb}</priority></presence>")
        if not lossy:
            collect()
    collect()
    waiting = {
        each.stanza.split(b"id='")[1].split(b"'")[0].decode()
        for user in world.store.users.values()
        for each in user.offline.values()
    }
    assert {str(number) for number in range(1, sent + 1)} == set(kept) | refused | waiting
    assert not refused
    if not requeued:
        assert not set(kept) & waiting, "delivered and still waiting"
    # whatever waits comes in the end, to one session and in order
    world.send("juliet/late", "<presence/>")
    assert all(user.offline == {} for user in world.store.users.values())
