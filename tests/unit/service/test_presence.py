"""Presence: who sees whom, from the first to the last (RFC 6121 section 4)."""

import pytest

from megaphone.service.ports import RosterItem
from megaphone.stream.jid import JID
from tests.unit.service.world import World


def befriend(world: World, *names: str) -> None:
    """Subscribe users to each other, before any of them is there."""
    jids = [JID(name, "example.org") for name in names]
    for jid in jids:
        for other in jids:
            if other != jid:
                world.store.put_roster_item(jid, RosterItem(other, subscription="both"), 1)


@pytest.mark.parametrize("homes", [1, 3])
def test_from_the_first_to_the_last(homes: int) -> None:
    world = World(homes=homes)
    befriend(world, "juliet", "romeo")
    world.play("""
        juliet/balcony >> <presence id='p'><priority>5</priority></presence>
        juliet/balcony << <presence to='juliet@example.org/balcony' from='juliet@example.org/balcony'>
            <priority>5</priority></presence>
        juliet/balcony << <presence to='juliet@example.org/balcony' from='romeo@example.org' type='unavailable'/>

        # the newcomer sees her, and she him
        romeo/orchard >> <presence/>
        romeo/orchard << <presence to='romeo@example.org/orchard' from='romeo@example.org/orchard'/>
        romeo/orchard << <presence to='romeo@example.org/orchard' from='juliet@example.org/balcony'>
            <priority>5</priority></presence>
        juliet/balcony << <presence to='juliet@example.org' from='romeo@example.org/orchard'/>

        # another session of hers
        juliet/chamber >> <presence><show>away</show></presence>
        juliet/chamber << <presence to='juliet@example.org/chamber' from='juliet@example.org/chamber'>
            <show>away</show></presence>
        juliet/chamber << <presence to='juliet@example.org/chamber' from='juliet@example.org/balcony'>
            <priority>5</priority></presence>
        juliet/chamber << <presence to='juliet@example.org/chamber' from='romeo@example.org/orchard'/>
        juliet/balcony << <presence to='juliet@example.org/balcony' from='juliet@example.org/chamber'>
            <show>away</show></presence>
        romeo/orchard << <presence to='romeo@example.org' from='juliet@example.org/chamber'>
            <show>away</show></presence>

        # a change is told, nothing is asked again
        romeo/orchard >> <presence><show>dnd</show></presence>
        romeo/orchard << <presence to='romeo@example.org/orchard' from='romeo@example.org/orchard'>
            <show>dnd</show></presence>
        juliet/balcony << <presence to='juliet@example.org' from='romeo@example.org/orchard'>
            <show>dnd</show></presence>
        juliet/chamber << <presence to='juliet@example.org' from='romeo@example.org/orchard'>
            <show>dnd</show></presence>

        # leaving with words, and by the end of the stream
        juliet/balcony >> <presence type='unavailable'><status>Good night</status></presence>
        juliet/chamber << <presence to='juliet@example.org/chamber' from='juliet@example.org/balcony'
            type='unavailable'><status>Good night</status></presence>
        romeo/orchard << <presence to='romeo@example.org' from='juliet@example.org/balcony'
            type='unavailable'><status>Good night</status></presence>
        juliet/chamber ends
        romeo/orchard << <presence to='romeo@example.org' from='juliet@example.org/chamber' type='unavailable'/>
        juliet/balcony ends
    """)


def test_directed_presence() -> None:
    World().play("""
        # to a room: it hears of the end, and of nothing in between
        juliet/balcony >> <presence to='verona@conference.example.org/juliet'/>
        elsewhere << <presence to='verona@conference.example.org/juliet' from='juliet@example.org/balcony'/>
        juliet/balcony >> <presence/>
        juliet/balcony << <presence to='juliet@example.org/balcony' from='juliet@example.org/balcony'/>
        juliet/balcony >> <presence to='mantua@conference.example.org/juliet'/>
        elsewhere << <presence to='mantua@conference.example.org/juliet' from='juliet@example.org/balcony'/>
        juliet/balcony >> <presence to='mantua@conference.example.org/juliet' type='unavailable'/>
        elsewhere << <presence to='mantua@conference.example.org/juliet' from='juliet@example.org/balcony'
            type='unavailable'/>
        juliet/balcony ends
        elsewhere << <presence to='verona@conference.example.org/juliet' from='juliet@example.org/balcony'
            type='unavailable'/>

        # to a user who is no contact
        romeo/orchard >> <presence/>
        romeo/orchard << <presence to='romeo@example.org/orchard' from='romeo@example.org/orchard'/>
        nurse/hall >> <presence to='romeo@example.org'><status>A word</status></presence>
        romeo/orchard << <presence to='romeo@example.org' from='nurse@example.org/hall'><status>A word</status>
            </presence>
        nurse/hall >> <presence to='romeo@example.org/orchard'/>
        romeo/orchard << <presence to='romeo@example.org/orchard' from='nurse@example.org/hall'/>
        nurse/hall >> <presence to='romeo@example.org/nowhere'/>
        nurse/hall >> <presence to='tybalt@example.org'/>
        nurse/hall >> <presence to='example.org'/>
        nurse/hall >> <presence to='romeo@example.org/orchard' type='unavailable'/>
        romeo/orchard << <presence to='romeo@example.org/orchard' from='nurse@example.org/hall' type='unavailable'/>
        nurse/hall >> <presence type='unavailable'/>
        romeo/orchard << <presence to='romeo@example.org' from='nurse@example.org/hall' type='unavailable'/>
    """)


def test_a_contact_with_directed_presence_hears_of_the_end_once() -> None:
    world = World()
    befriend(world, "juliet", "romeo")
    for name in ("juliet/balcony", "romeo/orchard"):
        world.send(name, "<presence/>")
    world.send("juliet/balcony", "<presence to='romeo@example.org/orchard'><show>chat</show></presence>")
    world.take("romeo/orchard")
    world.end("juliet/balcony")
    assert len(world.take("romeo/orchard")) == 1


def test_probes() -> None:
    world = World()
    befriend(world, "juliet", "romeo")
    world.play("""
        # a contact may ask; whoever may not, and whoever asks for nobody, is told that there is no subscription
        romeo/orchard >> <presence to='juliet@example.org' type='probe'/>
        romeo/orchard << <presence to='romeo@example.org/orchard' from='juliet@example.org' type='unavailable'/>
        nurse/hall >> <presence to='juliet@example.org' type='probe'/>
        nurse/hall >> <presence to='tybalt@example.org' type='probe'/>
        nurse/hall >> <presence type='probe'/>
        nurse/hall << <presence to='nurse@example.org/hall' type='error'><error type='modify'>
            <bad-request xmlns='urn:ietf:params:xml:ns:xmpp-stanzas'/>
            <text xmlns='urn:ietf:params:xml:ns:xmpp-stanzas' xml:lang='en'>*</text></error></presence>
    """)
    # a roster that believes in a subscription that is none is put right by it
    world.store.put_roster_item(
        JID("nurse", "example.org"), RosterItem(JID("juliet", "example.org"), subscription="to"), 1
    )
    world.end("nurse/hall")
    world.services[0].home.forget("nurse")
    world.play("""
        nurse/hall >> <iq type='get' id='r'><query xmlns='jabber:iq:roster' ver='1'/></iq>
        nurse/hall << <iq to='nurse@example.org/hall' type='result' id='r'/>
        nurse/hall >> <presence/>
        nurse/hall << <presence to='nurse@example.org/hall' from='nurse@example.org/hall'/>
        nurse/hall << <presence to='nurse@example.org' from='juliet@example.org' type='unsubscribed'/>
        nurse/hall << <iq to='nurse@example.org/hall' type='set' id='*'><query xmlns='jabber:iq:roster' ver='2'>
            <item jid='juliet@example.org' subscription='none'/></query></iq>
    """)


@pytest.mark.parametrize("priority", ["128", "-129", "high", "1.5", "--1", "+-1", "", "\u0661", "1" * 500])
def test_bad_priorities(priority: str) -> None:
    world = World()
    world.send("juliet/balcony", f"<presence id='1'><priority>{priority}</priority></presence>")
    (answer,) = world.take("juliet/balcony")
    assert b"<bad-request" in answer
    assert not world.sessions["juliet/balcony"].available


@pytest.mark.parametrize("priority", ["127", "-128", " 1 ", "+1", "0"])
def test_good_priorities(priority: str) -> None:
    world = World()
    world.send("juliet/balcony", f"<presence><priority>{priority}</priority></presence>")
    assert world.sessions["juliet/balcony"].priority == int(priority)


def test_limits() -> None:
    world = World(directed_presence_targets=1, presence_bytes=200)
    world.send("juliet/balcony", "<presence to='a@conference.example.org/j'/>")
    world.send("juliet/balcony", "<presence to='a@conference.example.org/j'/>")
    world.send("juliet/balcony", "<presence to='b@conference.example.org/j'/>")
    assert len(world.take("elsewhere")) == 2
    (answer,) = world.take("juliet/balcony")
    assert b"<resource-constraint" in answer
    world.send("juliet/balcony", f"<presence><status>{'x' * 200}</status></presence>")
    (answer,) = world.take("juliet/balcony")
    assert b"<not-acceptable" in answer
    world.send("juliet/balcony", "<presence type='invisible'/>")
    (answer,) = world.take("juliet/balcony")
    assert b"<bad-request" in answer
    world.send("juliet/balcony", "<presence to='x@example.com'/>")
    (answer,) = world.take("juliet/balcony")
    assert b"<remote-server-not-found" in answer


def test_presence_for_a_user_goes_to_available_sessions_only() -> None:
    world = World()
    world.send("juliet/balcony", "<presence/>")
    world.bind("juliet/chamber")
    world.take("juliet/balcony")
    world.receive_routed("<presence to='juliet@example.org' from='verona@conference.example.org/romeo'/>")
    world.receive_routed("<presence to='juliet@example.org' from='verona@conference.example.org/romeo' type='error'/>")
    assert len(world.take("juliet/balcony")) == 1
    assert world.take("juliet/chamber") == []
    world.receive_routed(
        "<presence to='juliet@example.org/chamber' from='verona@conference.example.org' type='error'/>"
    )
    assert len(world.take("juliet/chamber")) == 1


def test_equal_presences_are_kept_once() -> None:
    world = World()
    world.send("juliet/balcony", "<presence id='1'><show>away</show></presence>")
    world.send("romeo/orchard", "<presence id='2'><show>away</show></presence>")
    assert world.sessions["juliet/balcony"].presence is world.sessions["romeo/orchard"].presence


def test_a_home_is_lost() -> None:
    world = World()
    befriend(world, "juliet", "romeo", "nurse")
    world.send("juliet/balcony", "<presence/>")
    world.send("juliet/balcony", "<presence to='verona@conference.example.org/juliet'/>")
    world.send("juliet/balcony", "<presence to='mantua@conference.example.org/juliet'/>")
    world.bind("juliet/chamber")
    for name in ("juliet/balcony", "elsewhere"):
        world.take(name)
    lost = {JID("romeo", "example.org"), JID("verona", "conference.example.org")}
    world.services[0].home_lost(lambda jid: jid in lost, 0.0)
    world.play("""
        juliet/balcony << <presence to='juliet@example.org/balcony' from='romeo@example.org' type='unavailable'/>
        juliet/balcony << <presence to='juliet@example.org/balcony' from='verona@conference.example.org/juliet'
            type='unavailable'><x xmlns='http://jabber.org/protocol/muc#user'><item affiliation='none' role='none'/>
            <status code='110'/><status code='332'/></x></presence>
        juliet/balcony ends
        elsewhere << <presence to='mantua@conference.example.org/juliet' from='juliet@example.org/balcony'
            type='unavailable'/>
    """)
