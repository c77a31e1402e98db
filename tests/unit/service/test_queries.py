"""What the domain and an account answer: discovery, ping, version, time, private XML, vCards, and everything else."""

from base64 import b64encode
from hashlib import sha1

import pytest

from megaphone.service.discovery import NODE, capabilities, capabilities_feature
from megaphone.service.ports import RosterItem
from megaphone.stream.jid import JID
from megaphone.stream.stanza import Stanza
from tests.unit.service.world import World

ERRORS = "urn:ietf:params:xml:ns:xmpp-stanzas"
INFO = "http://jabber.org/protocol/disco#info"


def ask(world: World, payload: str, *, to: str = "", type_: str = "get", name: str = "juliet/balcony") -> Stanza:
    address = f" to='{to}'" if to else ""
    world.send(name, f"<iq type='{type_}' id='q'{address}>{payload}</iq>")
    (answer,) = world.take(name)
    stanza = Stanza.read(answer)
    assert stanza.id == "q"
    assert (None if stanza.from_ is None else str(stanza.from_)) == (to or None)
    return stanza


def condition_of(stanza: Stanza) -> str | None:
    error = stanza.child("jabber:client", "error")
    return None if error is None else error[0].tag.rpartition("}")[2]


def test_small_questions() -> None:
    World(version="1.2", components=(("conference.example.org", "Rooms"),)).play("""
        at 1033632000.25
        juliet/balcony >> <iq type='get' id='1' to='example.org'><ping xmlns='urn:xmpp:ping'/></iq>
        juliet/balcony << <iq type='result' id='1' to='juliet@example.org/balcony' from='example.org'/>
        juliet/balcony >> <iq type='get' id='2'><ping xmlns='urn:xmpp:ping'/></iq>
        juliet/balcony << <iq type='result' id='2' to='juliet@example.org/balcony'/>
        juliet/balcony >> <iq type='get' id='3' to='juliet@example.org'><ping xmlns='urn:xmpp:ping'/></iq>
        juliet/balcony << <iq type='result' id='3' to='juliet@example.org/balcony' from='juliet@example.org'/>
        juliet/balcony >> <iq type='get' id='4' to='example.org'><query xmlns='jabber:iq:version'/></iq>
        juliet/balcony << <iq type='result' id='4' to='juliet@example.org/balcony' from='example.org'>
            <query xmlns='jabber:iq:version'><name>Megaphone</name><version>1.2</version></query></iq>
        juliet/balcony >> <iq type='get' id='5' to='example.org'><time xmlns='urn:xmpp:time'/></iq>
        juliet/balcony << <iq type='result' id='5' to='juliet@example.org/balcony' from='example.org'>
            <time xmlns='urn:xmpp:time'><tzo>+00:00</tzo><utc>2002-10-03T08:00:00.250Z</utc></time></iq>
        juliet/balcony >> <iq type='set' id='6'><session xmlns='urn:ietf:params:xml:ns:xmpp-session'/></iq>
        juliet/balcony << <iq type='result' id='6' to='juliet@example.org/balcony'/>
        juliet/balcony >> <iq type='set' id='6' to='example.org'>
            <session xmlns='urn:ietf:params:xml:ns:xmpp-session'/></iq>
        juliet/balcony << <iq type='result' id='6' to='juliet@example.org/balcony' from='example.org'/>
        juliet/balcony >> <iq type='get' id='7' to='example.org'>
            <query xmlns='http://jabber.org/protocol/disco#items'/></iq>
        juliet/balcony << <iq type='result' id='7' to='juliet@example.org/balcony' from='example.org'>
            <query xmlns='http://jabber.org/protocol/disco#items'>
            <item jid='conference.example.org' name='Rooms'/></query></iq>
        # to another client, and its answer back
        romeo/orchard binds
        juliet/balcony >> <iq type='get' id='8' to='romeo@example.org/orchard'><ping xmlns='urn:xmpp:ping'/></iq>
        romeo/orchard << <iq type='get' id='8' to='romeo@example.org/orchard' from='juliet@example.org/balcony'>
            <ping xmlns='urn:xmpp:ping'/></iq>
        romeo/orchard >> <iq type='result' id='8' to='juliet@example.org/balcony'/>
        juliet/balcony << <iq type='result' id='8' to='juliet@example.org/balcony' from='romeo@example.org/orchard'/>
        # answers to the server's own requests end at the server
        juliet/balcony >> <iq type='result' id='push-1' to='example.org'/>
        juliet/balcony >> <iq type='error' id='push-1'/>
        juliet/balcony >> <iq type='result' id='9' to='tybalt@example.org/x'/>
        juliet/balcony >> <iq type='result' id='9' to='romeo@example.org'/>
        juliet/balcony >> <iq type='get' id='10' to='verona@conference.example.org'><ping xmlns='urn:xmpp:ping'/></iq>
        elsewhere << <iq type='get' id='10' to='verona@conference.example.org' from='juliet@example.org/balcony'>
            <ping xmlns='urn:xmpp:ping'/></iq>
    """)


def test_what_the_domain_can_do_is_what_its_capabilities_say() -> None:
    world = World()
    for node in ("", f" node='{NODE}#{capabilities()}'"):
        query = ask(world, f"<query xmlns='{INFO}'{node}/>", to="example.org").child(INFO)
        assert query is not None
        (identity,) = query.findall(f"{{{INFO}}}identity")
        features = [each.get("var", "") for each in query.findall(f"{{{INFO}}}feature")]
        # XEP-0115 section 5.1, from what was answered
        text = "{category}/{type}//{name}<".format(**identity.attrib) + "".join(f"{each}<" for each in sorted(features))
        assert b64encode(sha1(text.encode()).digest()).decode() == capabilities()
        assert len(set(features)) == len(features) == len(query) - 1
        assert query.get("node", "") in node
    assert capabilities().encode() in capabilities_feature()
    assert condition_of(ask(world, f"<query xmlns='{INFO}' node='x'/>", to="example.org")) == "item-not-found"


@pytest.mark.parametrize("kind", ["info", "items"])
def test_an_account_is_discovered_by_its_owner_and_contacts(kind: str) -> None:
    world = World()
    query = f"<query xmlns='http://jabber.org/protocol/disco#{kind}'/>"
    world.store.put_roster_item(
        JID("juliet", "example.org"), RosterItem(JID("romeo", "example.org"), subscription="from"), 1
    )
    assert ask(world, query, to="juliet@example.org").type == "result"
    assert ask(world, query, to="juliet@example.org", name="romeo/orchard").type == "result"
    answer = ask(world, query, to="juliet@example.org", name="nurse/hall")
    assert condition_of(answer) == "service-unavailable"
    assert condition_of(ask(world, query, to="tybalt@example.org", name="nurse/hall")) == "service-unavailable"
    with_node = query.replace("/>", " node='urn:xmpp:bookmarks:1'/>")
    assert condition_of(ask(world, with_node, to="juliet@example.org")) == "item-not-found"


PUBSUB = "<pubsub xmlns='http://jabber.org/protocol/pubsub'><items node='urn:xmpp:bookmarks:1'/></pubsub>"


@pytest.mark.parametrize(
    ("stanza", "condition"),
    [
        (f"<iq type='get' id='q'>{PUBSUB}</iq>", "service-unavailable"),
        (f"<iq type='set' id='q' to='juliet@example.org'>{PUBSUB}</iq>", "service-unavailable"),
        (f"<iq type='get' id='q' to='romeo@example.org'>{PUBSUB}</iq>", "service-unavailable"),
        ("<iq type='get' id='q'><query xmlns='urn:nothing'/></iq>", "service-unavailable"),
        ("<iq type='get' id='q' to='example.org'><query xmlns='jabber:iq:roster'/></iq>", "service-unavailable"),
        ("<iq type='set' id='q' to='example.org'><query xmlns='jabber:iq:version'/></iq>", "service-unavailable"),
        ("<iq type='get' id='q' to='example.org/x'><ping xmlns='urn:xmpp:ping'/></iq>", "service-unavailable"),
        ("<iq type='get' id='q' to='romeo@example.org/x'><ping xmlns='urn:xmpp:ping'/></iq>", "service-unavailable"),
        ("<iq type='get' id='q' to='tybalt@example.org'><ping xmlns='urn:xmpp:ping'/></iq>", "service-unavailable"),
        ("<iq type='get' id='q' to='example.com'><ping xmlns='urn:xmpp:ping'/></iq>", "remote-server-not-found"),
        ("<iq type='get' id='q'/>", "bad-request"),
        ("<iq type='get' id='q'><ping xmlns='urn:xmpp:ping'/><ping xmlns='urn:xmpp:ping'/></iq>", "bad-request"),
        ("<iq type='ask' id='q'><ping xmlns='urn:xmpp:ping'/></iq>", "bad-request"),
        ("<iq id='q' to='romeo@example.org/x'><ping xmlns='urn:xmpp:ping'/></iq>", "bad-request"),
        ("<iq type='get'><ping xmlns='urn:xmpp:ping'/></iq>", "bad-request"),
        ("<iq type='get' to='romeo@example.org'><ping xmlns='urn:xmpp:ping'/></iq>", "bad-request"),
    ],
)
def test_every_request_has_an_answer(stanza: str, condition: str) -> None:
    world = World()
    world.send("juliet/balcony", stanza)
    (answer,) = world.take("juliet/balcony")
    assert f"<{condition} ".encode() in answer
    assert Stanza.read(answer).id == Stanza.read(stanza.encode()).id


def test_private_xml() -> None:
    World().play("""
        juliet/balcony >> <iq type='get' id='1'><query xmlns='jabber:iq:private'><storage xmlns='storage:bookmarks'/>
            </query></iq>
        juliet/balcony << <iq type='result' id='1' to='juliet@example.org/balcony'><query xmlns='jabber:iq:private'>
            <storage xmlns='storage:bookmarks'/></query></iq>
        juliet/balcony >> <iq type='set' id='2'><q:query xmlns:q='jabber:iq:private' xmlns:b='storage:bookmarks'>
            <b:storage><b:conference jid='verona@conference.example.org'/></b:storage></q:query></iq>
        juliet/balcony << <iq type='result' id='2' to='juliet@example.org/balcony'/>
        juliet/balcony ends
        juliet/chamber >> <iq type='get' id='3'><query xmlns='jabber:iq:private'><storage xmlns='storage:bookmarks'/>
            </query></iq>
        juliet/chamber << <iq type='result' id='3' to='juliet@example.org/chamber'><query xmlns='jabber:iq:private'>
            <storage xmlns='storage:bookmarks'>
            <conference xmlns='storage:bookmarks' jid='verona@conference.example.org'/>
            </storage></query></iq>
    """)


@pytest.mark.parametrize(
    ("content", "condition"),
    [
        ("", "bad-request"),
        ("<a xmlns='urn:a'/><b xmlns='urn:b'/>", "bad-request"),
        ("<a/>", "bad-request"),
        ("<a xmlns=''/>", "bad-request"),
        (f"<a xmlns='urn:{'a' * 1024}'/>", "not-acceptable"),
        (f"<a xmlns='urn:a'>{'x' * 300}</a>", "resource-constraint"),
    ],
)
def test_private_xml_refused(content: str, condition: str) -> None:
    answer = ask(World(private_bytes_per_user=300), f"<query xmlns='jabber:iq:private'>{content}</query>", type_="set")
    assert condition_of(answer) == condition


def test_private_xml_counts_what_it_replaces_once() -> None:
    world = World(private_bytes_per_user=100)
    for _ in range(3):
        answer = ask(world, f"<query xmlns='jabber:iq:private'><a xmlns='urn:a'>{'x' * 60}</a></query>", type_="set")
        assert answer.type == "result"
    more = f"<query xmlns='jabber:iq:private'><b xmlns='urn:a'>{'x' * 60}</b></query>"
    assert condition_of(ask(world, more, type_="set")) == "resource-constraint"


def test_vcards() -> None:
    world = World(vcard_bytes=200)
    world.play("""
        juliet/balcony >> <iq type='get' id='1'><vCard xmlns='vcard-temp'/></iq>
        juliet/balcony << <iq type='result' id='1' to='juliet@example.org/balcony'><vCard xmlns='vcard-temp'/></iq>
        juliet/balcony >> <iq type='set' id='2'><vCard xmlns='vcard-temp'><FN>Juliet</FN></vCard></iq>
        juliet/balcony << <iq type='result' id='2' to='juliet@example.org/balcony'/>
        nurse/hall >> <iq type='get' id='3' to='juliet@example.org'><vCard xmlns='vcard-temp'/></iq>
        nurse/hall << <iq type='result' id='3' to='nurse@example.org/hall' from='juliet@example.org'>
            <vCard xmlns='vcard-temp'><FN>Juliet</FN></vCard></iq>
    """)
    assert (
        condition_of(ask(world, "<vCard xmlns='vcard-temp'/>", type_="set", to="nurse@example.org"))
        == "service-unavailable"
    )
    long = f"<vCard xmlns='vcard-temp'><FN>{'x' * 200}</FN></vCard>"
    assert condition_of(ask(world, long, type_="set")) == "resource-constraint"


def test_an_anonymous_user_has_nothing_that_is_kept() -> None:
    world = World()
    world.bind("guest/1", anonymous=True)
    query = f"<query xmlns='{INFO}'/>"
    info = ask(world, query, name="guest/1").child(INFO)
    assert info is not None
    assert info[0].get("type") == "anonymous"
    assert ask(world, "<vCard xmlns='vcard-temp'/>", name="guest/1").type == "result"
    assert condition_of(ask(world, "<vCard xmlns='vcard-temp'/>", name="guest/1", type_="set")) == "not-allowed"
    private = "<query xmlns='jabber:iq:private'><a xmlns='urn:a'/></query>"
    assert ask(world, private, name="guest/1").type == "result"
    assert condition_of(ask(world, private, name="guest/1", type_="set")) == "not-allowed"
    world.play("""
        guest/1 >> <iq type='set' id='r'><query xmlns='jabber:iq:roster'><item jid='romeo@example.org'/></query></iq>
        guest/1 << <iq type='result' id='r' to='guest@example.org/1'/>
        guest/1 >> <iq type='set' id='b'><block xmlns='urn:xmpp:blocking'><item jid='nurse@example.org'/></block></iq>
        guest/1 << <iq type='result' id='b' to='guest@example.org/1'/>
        romeo/orchard >> <message to='guest@example.org' id='m'><body>hi</body></message>
        romeo/orchard << <message to='romeo@example.org/orchard' from='guest@example.org' id='m' type='error'>
            <error type='cancel'><service-unavailable xmlns='urn:ietf:params:xml:ns:xmpp-stanzas'/></error></message>
        guest/1 ends
        romeo/orchard >> <iq to='guest@example.org' id='m' type='get'><vCard xmlns='vcard-temp'/></iq>
        romeo/orchard << <iq to='romeo@example.org/orchard' from='guest@example.org' id='m' type='error'>
            <error type='cancel'><service-unavailable xmlns='urn:ietf:params:xml:ns:xmpp-stanzas'/></error></iq>
    """)
    assert JID("guest", "example.org") not in world.store.users
