"""Carbons (XEP-0280): what other clients of a user see."""

import pytest

from megaphone.stream.forwarded import in_client_namespace
from tests.unit.service.world import World

ENABLE = "<iq type='set' id='c'><enable xmlns='urn:xmpp:carbons:2'/></iq>"


def two_clients(**settings: object) -> World:
    world = World(**settings)  # type: ignore[arg-type]
    world.send("romeo/orchard", "<presence><priority>1</priority></presence>")
    world.send("romeo/garden", "<presence/>")
    world.send("romeo/garden", ENABLE)
    world.send("juliet/balcony", "<presence/>")
    for name in world.clients:
        world.take(name)
    return world


def test_received_and_sent() -> None:
    two_clients().play("""
        juliet/balcony >> <message to='romeo@example.org' type='chat'><body>hi</body></message>
        romeo/orchard << <message to='romeo@example.org' from='juliet@example.org/balcony' type='chat'>
            <body>hi</body></message>
        romeo/garden << <message to='romeo@example.org/garden' from='romeo@example.org' type='chat'>
            <received xmlns='urn:xmpp:carbons:2'><forwarded xmlns='urn:xmpp:forward:0'>
            <message xmlns='jabber:client' to='romeo@example.org' from='juliet@example.org/balcony' type='chat'>
            <body>hi</body></message></forwarded></received></message>
        romeo/orchard >> <message to='juliet@example.org/balcony' type='chat'><body>ho</body></message>
        romeo/garden << <message to='romeo@example.org/garden' from='romeo@example.org' type='chat'>
            <sent xmlns='urn:xmpp:carbons:2'><forwarded xmlns='urn:xmpp:forward:0'>
            <message xmlns='jabber:client' to='juliet@example.org/balcony' from='romeo@example.org/orchard' type='chat'>
            <body>ho</body></message></forwarded></sent></message>
        juliet/balcony << <message to='juliet@example.org/balcony' from='romeo@example.org/orchard' type='chat'>
            <body>ho</body></message>

        # the one that has enabled them gets no copies of its own
        romeo/garden >> <message to='juliet@example.org' type='chat'><body>hm</body></message>
        juliet/balcony << <message to='juliet@example.org' from='romeo@example.org/garden' type='chat'>
            <body>hm</body></message>

        # to oneself: once
        romeo/orchard >> <message to='romeo@example.org' type='chat'><body>note</body></message>
        romeo/orchard << <message to='romeo@example.org' from='romeo@example.org/orchard' type='chat'>
            <body>note</body></message>
        romeo/garden << <message to='romeo@example.org/garden' from='romeo@example.org' type='chat'>
            <received xmlns='urn:xmpp:carbons:2'><forwarded xmlns='urn:xmpp:forward:0'>
            <message xmlns='jabber:client' to='romeo@example.org' from='romeo@example.org/orchard' type='chat'>
            <body>note</body></message></forwarded></received></message>

        romeo/garden >> <iq type='set' id='d'><disable xmlns='urn:xmpp:carbons:2'/></iq>
        romeo/garden << <iq to='romeo@example.org/garden' type='result' id='d'/>
        juliet/balcony >> <message to='romeo@example.org' type='chat'><body>bye</body></message>
        romeo/orchard << <message to='romeo@example.org' from='juliet@example.org/balcony' type='chat'>
            <body>bye</body></message>
    """)


ROOM_PM = "<x xmlns='http://jabber.org/protocol/muc#user'/>"
INVITE = "<x xmlns='http://jabber.org/protocol/muc#user'><invite from='a@example.org'/></x>"


@pytest.mark.parametrize(
    ("type_", "content", "received", "sent"),
    [
        ("chat", "<body>x</body>", True, True),
        ("chat", "<received xmlns='urn:xmpp:receipts' id='1'/>", True, True),
        ("normal", "<body>x</body>", True, True),
        ("normal", "<x xmlns='jabber:x:oob'/>", False, False),
        ("normal", INVITE, True, True),
        ("normal", "<x xmlns='jabber:x:conference' jid='verona@conference.example.org'/>", True, True),
        ("headline", "<body>x</body>", False, False),
        ("groupchat", "<body>x</body>", False, False),
        ("error", "<body>x</body>", False, False),
        ("chat", "<body>x</body><private xmlns='urn:xmpp:carbons:2'/>", False, False),
        ("chat", "<body>x</body><no-copy xmlns='urn:xmpp:hints'/>", False, False),
        ("chat", f"<body>x</body>{ROOM_PM}", False, True),
    ],
)
def test_what_is_copied(type_: str, content: str, received: bool, sent: bool) -> None:
    world = two_clients()
    message = f"<message to='{{}}' type='{type_}'>{content}</message>"
    world.send("juliet/balcony", message.format("romeo@example.org/orchard"))
    assert len(world.take("romeo/garden")) == received
    assert len(world.take("romeo/orchard")) == 1
    world.send("romeo/orchard", message.format("juliet@example.org/balcony"))
    assert len(world.take("romeo/garden")) == sent


def test_a_stanza_says_its_namespace_once() -> None:
    declared = b"<message xmlns='jabber:client'/>"
    assert in_client_namespace(declared) == declared
    assert in_client_namespace(b"<message a=' xmlns='/>") == b"<message xmlns='jabber:client' a=' xmlns='/>"
    assert in_client_namespace(b"<message xmlns:x='urn:x'/>") == b"<message xmlns='jabber:client' xmlns:x='urn:x'/>"
    assert in_client_namespace(b'<message\n\txmlns = "jabber:client"></message>').count(b"jabber:client") == 1
