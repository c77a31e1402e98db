"""Sessions from binding to their end, and stanzas that make no sense."""

import pytest

from megaphone.errors import BindError
from megaphone.service.service import Service
from megaphone.stream.jid import JID
from megaphone.stream.stanza import Stanza
from tests.unit.memory_archive import MemoryArchive
from tests.unit.service.twin_store import TwinStore
from tests.unit.service.world import World, WorldOutlet

JULIET = JID("juliet", "example.org")


def test_resources() -> None:
    world = World()
    assert str(world.bind("juliet/balcony").jid) == "juliet@example.org/balcony"
    assert world.bind("juliet").jid.resource == "token1"
    assert world.bind("juliet/Chamber\u3000x").jid.resource == "Chamber x"  # RFC 7622 section 3.4
    for resource in ("\x00", "x" * 1024, "\ue000"):
        with pytest.raises(BindError, match="bad-request"):
            world.services[0].bind(JULIET, resource, 0.0)
    with pytest.raises(BindError, match="not-authorized"):
        world.services[0].bind(JID("tybalt", "example.org"), "x", 0.0)


def test_a_new_session_replaces_the_old_one() -> None:
    world = World()
    world.send("juliet/balcony", "<presence/>")
    world.send("juliet/balcony", "<presence to='verona@conference.example.org/juliet'/>")
    world.take("elsewhere")
    old = world.sessions["juliet/balcony"]
    client = world.clients["juliet/balcony"]
    new = world.bind("juliet/balcony")
    assert client.closed == "conflict"
    assert old.ended
    assert not new.available
    assert len(world.take("elsewhere")) == 1
    world.services[0].ended(old, 0.0)  # the host comes to know, after the event
    world.services[0].receive(old, Stanza.read(b"<message to='juliet@example.org/balcony'/>"), 0.0)
    world.services[0].client_state(old, False)
    assert world.routed == type(world.routed)()
    assert world.services[0].plain_targets == {b"juliet@example.org/balcony": new}


@pytest.mark.parametrize(("policy", "outcome"), [("reject", "conflict"), ("rename", "token1")])
def test_other_policies(policy: str, outcome: str) -> None:
    world = World(resource_conflict=policy)
    old = world.bind("juliet/balcony")
    if policy == "reject":
        with pytest.raises(BindError, match=outcome):
            world.bind("juliet/balcony")
    else:
        assert world.bind("juliet/balcony").jid.resource == outcome
    assert not old.ended


def test_only_so_many_sessions() -> None:
    world = World(sessions_per_user=2)
    world.bind("juliet/1")
    world.bind("juliet/2")
    with pytest.raises(BindError) as caught:
        world.bind("juliet/3")
    assert caught.value.condition == "resource-constraint"
    world.bind("juliet/2")  # in place of another
    assert len(world.services[0].home.users["juliet"].sessions) == 2


def test_what_was_never_acknowledged_is_not_lost() -> None:
    world = World()
    world.send("juliet/balcony", "<presence/>")
    world.send("romeo/orchard", "<presence/>")
    world.take("juliet/balcony")
    for content in ("type='chat'><body>1</body", "type='headline'><body>2</body", "type='groupchat'><body>3</body"):
        world.send("romeo/orchard", f"<message to='juliet@example.org/balcony' {content}></message>")
    world.send(
        "romeo/orchard", "<iq to='juliet@example.org/balcony' type='get' id='4'><ping xmlns='urn:xmpp:ping'/></iq>"
    )
    world.send("romeo/orchard", "<presence to='juliet@example.org/balcony'/>")
    lost = tuple(world.take("juliet/balcony"))
    assert len(lost) == 5
    world.take("romeo/orchard")
    world.now = 60.0
    world.end("juliet/balcony", requeue=lost)
    world.play(
        """
        romeo/orchard << <iq to='romeo@example.org/orchard' from='juliet@example.org/balcony' id='4' type='error'>
            <error type='cancel'><service-unavailable xmlns='urn:ietf:params:xml:ns:xmpp-stanzas'/></error></iq>
    """
    )
    world.send("juliet/chamber", "<presence/>")
    got = [each for each in world.take("juliet/chamber") if each.startswith(b"<message")]
    assert len(got) == 1
    assert (
        b"<body>1</body><delay xmlns='urn:xmpp:delay' from='example.org' stamp='1970-01-01T00:01:00.000Z'/>" in got[0]
    )


def test_it_goes_to_another_session_if_there_is_one() -> None:
    world = World()
    world.send("juliet/balcony", "<presence/>")
    world.send("juliet/chamber", "<presence/>")
    world.take("juliet/chamber")
    message = b"<message from='romeo@example.org/x' to='juliet@example.org/balcony'><body>1</body></message>"
    carbon = b"<message from='juliet@example.org' type='chat'><received xmlns='urn:xmpp:carbons:2'/></message>"
    world.end("juliet/balcony", requeue=(message, carbon))
    presence, late = world.take("juliet/chamber")
    assert b"unavailable" in presence
    assert b"<body>1</body><delay" in late
    assert world.store.users[JULIET].offline == {}


def test_an_account_is_removed() -> None:
    world = World()
    world.send("juliet/balcony", "<presence/>")
    client = world.clients["juliet/balcony"]
    del world.store.users[JULIET]
    world.services[0].account_removed(JULIET, 0.0)
    world.services[0].account_removed(JULIET, 0.0)
    assert client.closed == "not-authorized"
    world.send("romeo/orchard", "<message to='juliet@example.org'><body>1</body></message>")
    assert b"<service-unavailable" in world.take("romeo/orchard")[0]


def test_only_some_users_are_remembered() -> None:
    names = [f"user{number}" for number in range(5)]
    world = World(*names, "juliet", users_remembered=2)
    for _ in range(2):
        for name in names:
            world.send("juliet/balcony", f"<message to='{name}@example.org'><body>x</body></message>")
    assert [world.store.loads[JID(name, "example.org")] for name in names] == [2] * 5
    world.send("juliet/balcony", "<message to='user4@example.org'><body>x</body></message>")
    assert world.store.loads[JID("user4", "example.org")] == 2
    assert world.store.loads[JULIET] == 1


@pytest.mark.parametrize(
    "stanza",
    [
        "<message to='example.org' from='romeo@example.org/x' type='chat'/>",
        "<iq to='example.org' from='romeo@example.org/x' type='get' id='1'/>",
        "<iq to='example.org' from='romeo@example.org/x' type='result' id='1'/>",
        "<presence to='example.org' from='romeo@example.org/x'/>",
        "<iq to='juliet@example.org' from='romeo@example.org/x' type='result'/>",
        "<iq to='juliet@example.org/x' from='romeo@example.org/x' type='error' id='1'/>",
        "<message to='juliet@example.org/x' from='romeo@example.org/x' type='error'/>",
        "<presence to='tybalt@example.org' from='romeo@example.org/x' type='error'/>",
        "<presence to='juliet@example.org' from='romeo@example.org/x' type='unsubscribed'/>",
    ],
)
def test_routed_stanzas_that_lead_nowhere(stanza: str) -> None:
    world = World()
    world.bind("romeo/x")
    world.receive_routed(stanza)
    answers = world.take("romeo/x")
    assert len(answers) == (1 if "type='chat'" in stanza or "type='get'" in stanza else 0)
    assert all(b"<service-unavailable" in answer for answer in answers)


def test_a_domain_is_normalised() -> None:
    service = Service("Example.ORG.", WorldOutlet(World()), TwinStore(), MemoryArchive())
    assert service.home.domain == "example.org"
