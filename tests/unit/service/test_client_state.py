"""Client state indication (XEP-0352): what waits, how long, and how much of it."""

from tests.unit.service.world import World

STATE = "<message to='juliet@example.org' type='chat' id='{}'><composing xmlns='http://jabber.org/protocol/chatstates'/></message>"


def world_with_an_inactive_client(**settings: object) -> World:
    world = World(**settings)  # type: ignore[arg-type]
    world.send("juliet/balcony", "<presence/>")
    world.send("romeo/orchard", "<presence/>")
    world.set_active("juliet/balcony", False)
    for name in world.clients:
        world.take(name)
    return world


def test_presence_waits_until_somebody_looks() -> None:
    world_with_an_inactive_client().play("""
        romeo/orchard >> <presence to='juliet@example.org'><show>away</show></presence>
        nurse/hall >> <presence to='juliet@example.org'/>
        romeo/orchard >> <presence to='juliet@example.org'><show>dnd</show></presence>
        juliet/balcony active
        juliet/balcony << <presence to='juliet@example.org' from='nurse@example.org/hall'/>
        juliet/balcony << <presence to='juliet@example.org' from='romeo@example.org/orchard'><show>dnd</show></presence>
        juliet/balcony active
    """)


def test_what_cannot_wait_takes_the_rest_along() -> None:
    world = world_with_an_inactive_client()
    world.send("romeo/orchard", STATE.format(1))
    world.send("romeo/orchard", STATE.format(2))
    assert world.take("juliet/balcony") == []
    world.play("""
        romeo/orchard >> <message to='juliet@example.org'><body>hi</body></message>
        juliet/balcony << <message to='juliet@example.org' from='romeo@example.org/orchard' type='chat' id='2'>
            <composing xmlns='http://jabber.org/protocol/chatstates'/></message>
        juliet/balcony << <message to='juliet@example.org' from='romeo@example.org/orchard'><body>hi</body></message>
        # an answer does not wait either
        juliet/balcony >> <iq type='get' id='1' to='example.org'><ping xmlns='urn:xmpp:ping'/></iq>
        juliet/balcony << <iq type='result' id='1' to='juliet@example.org/balcony' from='example.org'/>
        romeo/orchard >> <presence to='juliet@example.org' type='subscribe'/>
        juliet/balcony << <presence to='juliet@example.org' from='romeo@example.org' type='subscribe'/>
    """)


def test_entering_a_room_does_not_wait() -> None:
    world = world_with_an_inactive_client()
    room = "<presence to='juliet@example.org/balcony' from='verona@conference.example.org/{}'><x xmlns='http://jabber.org/protocol/muc#user'>{}</x></presence>"
    world.receive_routed(room.format("romeo", ""))
    assert world.take("juliet/balcony") == []
    world.receive_routed(room.format("juliet", "<status code='110'/>"))
    assert [b"verona@conference.example.org/romeo" in each for each in world.take("juliet/balcony")] == [True, False]


def test_carbons_of_chat_states_wait_too() -> None:
    world = world_with_an_inactive_client()
    world.send("juliet/balcony", "<iq type='set' id='c'><enable xmlns='urn:xmpp:carbons:2'/></iq>")
    world.send("juliet/chamber", "<presence><priority>1</priority></presence>")
    world.take("juliet/balcony")
    world.send("romeo/orchard", STATE.format(1))
    assert world.take("juliet/balcony") == []
    assert len(world.take("juliet/chamber")) == 3
    world.set_active("juliet/balcony", True)
    assert len(world.take("juliet/balcony")) == 2  # the presence of the other client, and the copy


def test_only_so_many_wait() -> None:
    world = world_with_an_inactive_client(held_stanzas=3)
    for number in range(4):
        world.receive_routed(f"<presence to='juliet@example.org' from='verona@conference.example.org/{number}'/>")
        assert len(world.take("juliet/balcony")) == (4 if number == 3 else 0)


def test_what_waits_is_not_lost_to_the_end_of_another() -> None:
    world = world_with_an_inactive_client()
    world.receive_routed("<presence to='juliet@example.org' from='verona@conference.example.org/x'/>")
    world.end("romeo/orchard")
    world.set_active("juliet/balcony", True)
    assert len(world.take("juliet/balcony")) == 1
