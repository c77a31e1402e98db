"""Messages that wait (XEP-0160): which, how many, when they come, with which time (XEP-0203)."""

import pytest

from megaphone.stream.jid import JID
from tests.unit.service.world import World

ROMEO = JID("romeo", "example.org")
STATE = "<composing xmlns='http://jabber.org/protocol/chatstates'/>"


def test_they_wait_for_somebody_who_takes_messages() -> None:
    World().play("""
        at 1033632000
        juliet/balcony >> <message to='romeo@example.org' type='chat' id='1'><body>one</body></message>
        at 1033632001.5
        juliet/balcony >> <message to='romeo@example.org/gone' type='chat' id='2'><body>two</body></message>
        romeo/pda >> <presence><priority>-1</priority></presence>
        romeo/pda << <presence to='romeo@example.org/pda' from='romeo@example.org/pda'><priority>-1</priority>
            </presence>
        romeo/pda >> <presence><priority>1</priority></presence>
        romeo/pda << <presence to='romeo@example.org/pda' from='romeo@example.org/pda'><priority>1</priority></presence>
        romeo/pda << <message from='juliet@example.org/balcony' to='romeo@example.org' type='chat' id='1'>
            <body>one</body><delay xmlns='urn:xmpp:delay' from='example.org' stamp='2002-10-03T08:00:00.000Z'/>
            </message>
        romeo/pda << <message from='juliet@example.org/balcony' to='romeo@example.org/gone' type='chat' id='2'>
            <body>two</body><delay xmlns='urn:xmpp:delay' from='example.org' stamp='2002-10-03T08:00:01.500Z'/>
            </message>
        romeo/pda ends
        romeo/pda >> <presence/>
        romeo/pda << <presence to='romeo@example.org/pda' from='romeo@example.org/pda'/>
    """)


@pytest.mark.parametrize(
    ("stanza", "outcome"),
    [
        ("<message type='chat'><body>x</body></message>", "kept"),
        ("<message><body>x</body></message>", "kept"),
        ("<message><subject>x</subject></message>", "kept"),
        ("<message type='chat'><received xmlns='urn:xmpp:receipts' id='1'/></message>", "kept"),
        (f"<message type='chat'><body>x</body>{STATE}</message>", "kept"),
        (f"<message type='chat'>{STATE}</message>", "dropped"),
        (f"<message type='chat'><thread>t</thread>{STATE}</message>", "dropped"),
        (f"<message type='chat'>{STATE}<x:body xmlns:x='jabber:client'>hidden</x:body></message>", "kept"),
        (f"<message type='chat'>{STATE}<store xmlns='urn:xmpp:hints'/></message>", "kept"),
        ("<message type='chat'><body>x</body><no-store xmlns='urn:xmpp:hints'/></message>", "refused"),
        ("<message type='chat'><body>x</body><no-permanent-store xmlns='urn:xmpp:hints'/></message>", "refused"),
        (f"<message type='chat'>{STATE}<no-store xmlns='urn:xmpp:hints'/></message>", "dropped"),
        ("<message type='headline'><body>x</body></message>", "dropped"),
        ("<message type='error'><body>x</body></message>", "dropped"),
        ("<message type='groupchat'><body>x</body></message>", "refused"),
    ],
)
def test_what_may_wait(stanza: str, outcome: str) -> None:
    world = World()
    world.send("juliet/balcony", stanza.replace("<message", "<message to='romeo@example.org'"))
    kept = len(world.store.users[ROMEO].offline)
    answers = world.take("juliet/balcony")
    assert (kept, len(answers)) == {"kept": (1, 0), "dropped": (0, 0), "refused": (0, 1)}[outcome]
    assert all(b"<service-unavailable" in answer for answer in answers)


@pytest.mark.parametrize("limit", [{"offline_messages_per_user": 2}, {"offline_bytes_per_user": 450}])
def test_there_is_an_end_to_it(limit: dict[str, int]) -> None:
    world = World(**limit)
    for number in range(3):
        world.send("juliet/balcony", f"<message to='romeo@example.org' id='{number}'><body>x</body></message>")
    (answer,) = world.take("juliet/balcony")
    assert b"id='2'" in answer
    assert b"<error type='wait'><resource-constraint" in answer
    world.send("romeo/orchard", "<presence/>")
    assert len(world.take("romeo/orchard")) == 3
    assert world.store.users[ROMEO].offline == {}
    world.end("romeo/orchard")
    world.send("juliet/balcony", "<message to='romeo@example.org' id='3'><body>x</body></message>")
    assert world.take("juliet/balcony") == []


def test_nobody_else_gives_the_time_in_our_name() -> None:
    world = World()
    world.send(
        "juliet/balcony",
        "<message to='romeo@example.org'><delay xmlns='urn:xmpp:delay' from='example.org' stamp='x'/><body>x</body>"
        "<delay xmlns='urn:xmpp:delay' from='example.com' stamp='y'/></message>",
    )
    (message,) = world.store.users[ROMEO].offline.values()
    assert message.stanza == (
        b"<message from='juliet@example.org/balcony' to='romeo@example.org'><body>x</body>"
        b"<delay xmlns='urn:xmpp:delay' from='example.com' stamp='y'/>"
        b"<delay xmlns='urn:xmpp:delay' from='example.org' stamp='1970-01-01T00:00:00.000Z'/></message>"
    )
    assert message.at == 0


def test_what_has_not_arrived_goes_to_another_and_only_that() -> None:
    world = World()
    for number in range(2):
        world.send("juliet/balcony", f"<message to='romeo@example.org' id='{number}'><body>x</body></message>")
    world.settles = False
    world.send("romeo/a", "<presence/>")
    assert len(world.take("romeo/a")) == 3
    world.send("romeo/b", "<presence/>")  # it is not given to two at once
    assert not any(stanza.startswith(b"<message") for stanza in world.take("romeo/b"))
    session, key = world.given.pop(0)
    world.services[0].settled(session, key)
    world.services[0].settled(session, key)
    world.end("romeo/a")
    messages = [stanza for stanza in world.take("romeo/b") if stanza.startswith(b"<message")]
    assert len(messages) == 1
    assert b"id='1'" in messages[0]
    world.given.clear()
    # nobody has said that it arrived: it waits, and is there after everything was forgotten
    world.end("romeo/b")
    world.services[0].home.forget("romeo")
    world.settles = True
    world.send("romeo/c", "<presence/>")
    assert len(world.take("romeo/c")) == 2
    assert world.store.users[ROMEO].offline == {}
    assert world.sessions["romeo/c"].user.inbox is None
