"""The rooms' domain, the room list, limits of the whole, and homes that die."""

from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from megaphone.rooms.ports import RoomConfig
from megaphone.stream.jid import JID
from megaphone.stream.stanza import Stanza, parse
from megaphone.wire.stamp import stamp
from tests.unit.rooms.town import DOMAIN, ROOM, SETTINGS, Town, condition, person

INFO = "http://jabber.org/protocol/disco#info"
ITEMS = "http://jabber.org/protocol/disco#items"
MUC = "http://jabber.org/protocol/muc"


def test_the_domain() -> None:
    town = Town(replace(SETTINGS, name="Chat rooms"))
    town.play(f"""
romeo >> <iq to='r.x' type='get' id='1'><query xmlns='{INFO}'/></iq>
romeo << <iq from='r.x' type='result' id='1'><query xmlns='{INFO}'>
           <identity category='conference' type='text' name='Chat rooms'/>
  <feature var='{INFO}'/><feature var='{ITEMS}'/><feature var='{MUC}'/><feature var='urn:xmpp:ping'/>
           <feature var='jabber:iq:version'/></query></iq>
romeo >> <iq to='r.x' type='get' id='2'><ping xmlns='urn:xmpp:ping'/></iq>
romeo << <iq from='r.x' type='result' id='2'/>
romeo >> <iq to='r.x' type='get' id='3'><query xmlns='jabber:iq:version'/></iq>
romeo << <iq from='r.x' type='result' id='3'><query xmlns='jabber:iq:version'><name>Megaphone</name>
           <version>1</version></query></iq>
romeo >> <iq to='r.x' type='get' id='4'><query xmlns='{ITEMS}'/></iq>
romeo << <iq from='r.x' type='result' id='4'><query xmlns='{ITEMS}'/></iq>
romeo >> <iq to='r.x' type='result' id='5'/>
romeo >> <presence to='r.x' type='unavailable'/>
""")
    for text, answer in (
        ("<message to='r.x'><body>b</body></message>", "service-unavailable"),
        ("<presence to='r.x'/>", "service-unavailable"),
        ("<iq to='r.x' type='get'/>", "bad-request"),
        ("<iq to='r.x' type='set' id='1'><query xmlns='jabber:iq:register'/></iq>", "service-unavailable"),
        (f"<iq to='r.x' type='get' id='1'><query xmlns='{INFO}' node='n'/></iq>", "item-not-found"),
        ("<iq to='v@r.x' type='get' id='1'><query xmlns='jabber:iq:version'/></iq>", "item-not-found"),
    ):
        town.say("romeo", text)
        assert [condition(each) for each in town.taken("romeo")] == [answer]
    town.enter("romeo")
    for text, answer in (
        ("<iq to='verona@r.x' type='get' id='1'><query xmlns='jabber:iq:version'/></iq>", "service-unavailable"),
        ("<iq to='verona@r.x' type='get' id='1'/>", "bad-request"),
        ("<iq to='verona@r.x' type='peek' id='1'/>", "bad-request"),
        ("<presence to='verona@r.x/romeo' type='hidden'/>", "bad-request"),
    ):
        town.say("romeo", text)
        assert [condition(each) for each in town.taken("romeo")] == [answer]


def test_room_list() -> None:
    town = Town(replace(SETTINGS, list_limit=2))
    town.enter("romeo", room="c")
    town.enter("romeo", room="b")
    town.enter("romeo", "juliet", room="d")
    town.say("romeo", "<presence to='new@r.x/romeo'><x xmlns='muc'/></presence>")
    assert town.rooms.items() == [(JID("d", DOMAIN), "", 2), (JID("b", DOMAIN), "", 1)]
    town.inboxes.clear()
    town.play(f"""
romeo >> <iq to='r.x' type='get' id='4'><query xmlns='{ITEMS}'/></iq>
romeo << <iq from='r.x' type='result' id='4'><query xmlns='{ITEMS}'><item jid='d@r.x' name='d'/>
           <item jid='b@r.x' name='b'/></query></iq>
""")
    town.say("romeo", "<presence to='d@r.x' type='unavailable'/>")
    town.say("juliet", "<presence to='d@r.x' type='unavailable'/>")
    assert [str(room) for room, _, _ in town.rooms.items()] == ["b@r.x", "c@r.x"]
    town.inboxes.clear()
    town.play(f"""
romeo >> <iq to='r.x' type='get' id='5'><query xmlns='{ITEMS}'/></iq>
romeo << <iq from='r.x' type='result' id='5'><query xmlns='{ITEMS}'>
           <item jid='b@r.x' name='b'/><item jid='c@r.x' name='c'/></query></iq>
""")


def test_the_list_is_told_of_doublings_and_not_of_each_join() -> None:
    town = Town()
    town.enter(*(f"p{number}" for number in range(100)))
    assert [count for _, _, count in town.listings] == [1, 2, 4, 8, 16, 32, 64]
    town.configure("p0", roomname="N")
    town.configure("p0", publicroom="0")
    town.configure("p0", moderatedroom="1")
    town.configure("p0", publicroom="1")
    assert town.listings[7:] == [("verona", "N", 100), ("verona", "", -1), ("verona", "N", 100)]


def test_limits() -> None:
    town = Town(replace(SETTINGS, rooms_limit=3, rooms_per_user_limit=2, room_name_limit_bytes=4))

    def enter(name: str, room: str) -> str:
        town.say(name, f"<presence to='{room}@r.x/n'><x xmlns='muc'/></presence>")
        return condition(town.taken(name)[-1])

    assert [enter("romeo", room) for room in ("a", "b", "c", "a")] == ["", "", "resource-constraint", ""]
    assert [enter("juliet", room) for room in ("long-", "c", "d")] == ["not-acceptable", "", "resource-constraint"]
    town.say("romeo", "<presence to='a@r.x' type='unavailable'/>")
    town.inboxes.clear()
    assert enter("romeo", "e") == ""
    assert [str(room.jid) for room in town.rooms] == ["b@r.x", "c@r.x", "e@r.x"]
    town.say("romeo", "<presence to='f@r.x'><x xmlns='muc'/></presence>")
    assert condition(town.taken("romeo")[-1]) == "jid-malformed"


def test_a_creator_who_cannot_enter_leaves_no_room() -> None:
    town = Town(replace(SETTINGS, nick_limit_bytes=2, defaults=RoomConfig(password="p")))
    for text, answer in (
        ("<presence to='v@r.x/long'><x xmlns='muc'><password>p</password></x></presence>", "not-acceptable"),
        ("<presence to='v@r.x/n'><x xmlns='muc'/></presence>", "not-authorized"),
    ):
        town.say("romeo", text)
        assert [condition(each) for each in town.taken("romeo")] == [answer]
        assert len(town.rooms) == 0
        assert not any(town.audience.values())


def test_who_may_make_rooms() -> None:
    town = Town(replace(SETTINGS, may_create=lambda user: user == person("romeo").bare))
    town.say("juliet", "<presence to='verona@r.x/juliet'><x xmlns='muc'/></presence>")
    assert [condition(each) for each in town.taken("juliet")] == ["not-allowed"]
    town.enter("romeo", "juliet")
    assert person("juliet") in town.audience[ROOM]


def test_homes_that_die() -> None:
    town = Town()
    town.enter("romeo", "juliet", "tybalt", "tybalt/2", "mercutio")
    town.enter("tybalt", room="mantua")
    town.enter("romeo", room="padua")
    lost = {person("tybalt").bare, person("mercutio").bare, JID("padua", DOMAIN)}
    town.rooms.home_lost(lambda jid: jid in lost, town.now)
    assert set(town.audience[ROOM]) == {person("romeo"), person("juliet")}
    assert [str(room.jid) for room in town.rooms] == ["verona@r.x", "padua@r.x"]
    assert [room.local for room, _, _ in town.rooms.items()] == ["verona"]
    for name in ("romeo", "juliet"):
        said = [
            (each.get("from"), each.get("type"), [status.get("code") for status in each.iter(f"{{{MUC}#user}}status")])
            for each in town.taken(name)
        ]
        assert said == [("verona@r.x/tybalt", "unavailable", ["333"]), ("verona@r.x/mercutio", "unavailable", ["333"])]
    town.rooms.list_anew()
    assert {room.local for room, _, _ in town.rooms.items()} == {"verona", "padua"}


def test_the_service_goes_down() -> None:
    town = Town()
    town.enter("romeo")
    town.configure(persistentroom="1")
    town.enter("juliet")
    town.rooms.shut_down()
    town.play("""
romeo << <presence from='verona@r.x/romeo' type='unavailable'><x xmlns='muc#user'>
           <item affiliation='owner' role='none' jid='romeo@x/c'/>
           <status code='110'/><status code='332'/></x></presence>
juliet << <presence from='verona@r.x/juliet' type='unavailable'><x xmlns='muc#user'>
           <item affiliation='none' role='none' jid='juliet@x/c'/>
           <status code='110'/><status code='332'/></x></presence>
""")
    assert (len(town.rooms), town.audience[ROOM]) == (0, {})
    town.rooms.load()
    assert [str(room.jid) for room in town.rooms] == ["verona@r.x"]


def test_only_clients_enter() -> None:
    town = Town()
    town.enter("romeo")
    data = b"<presence from='x' to='verona@r.x/n'><x xmlns='%b'/></presence>" % MUC.encode()
    town.rooms.receive(Stanza.read(data), town.now)
    (answer,) = town.inboxes[JID("", "x")]
    assert condition(parse(answer)) == "jid-malformed"


def test_a_stanza_without_addresses_is_the_hosts_mistake() -> None:
    town = Town()
    for data in (b"<message to='verona@r.x'/>", b"<message from='romeo@x/c'/>"):
        with pytest.raises(ValueError, match="both addresses"):
            town.rooms.receive(Stanza.read(data), town.now)


NAMES = [
    "x",
    "query",
    "item",
    "invite",
    "decline",
    "destroy",
    "field",
    "value",
    "reason",
    "history",
    "password",
    "ping",
]
NAMES += ["subject", "body", "thread", "stanza-id", "delay", "error", "gone", "continue"]
NAMESPACES = ["", MUC, f"{MUC}#user", f"{MUC}#admin", f"{MUC}#owner", "jabber:x:data", INFO, ITEMS, "urn:xmpp:ping"]
NAMESPACES += ["urn:xmpp:sid:0", "urn:xmpp:delay", "urn:ietf:params:xml:ns:xmpp-stanzas", "vcard-temp"]
ATTRIBUTES = {
    "role": ["none", "visitor", "moderator", "king"],
    "affiliation": ["owner", "none", "outcast", "king"],
    "nick": ["romeo", "juliet", "tybalt", ""],
    "jid": ["romeo@x", "x", "@", "juliet@x/c"],
    "to": ["romeo@x", "a@b/c", "verona@r.x/romeo", "@", ""],
    "type": ["submit", "cancel", "form"],
    "var": ["FORM_TYPE", "muc#roomconfig_maxusers", "muc#roomconfig_membersonly", "muc#roomconfig_persistentroom"],
    "maxstanzas": ["0", "-1", "x"],
    "by": ["verona@r.x", "@"],
}


@st.composite
def elements(draw: st.DrawFn, depth: int = 0) -> str:
    """Whatever a client may put together from the words of XEP-0045."""
    name, namespace = draw(st.sampled_from(NAMES)), draw(st.sampled_from(NAMESPACES))
    chosen = draw(st.sets(st.sampled_from(sorted(ATTRIBUTES)), max_size=3))
    attributes = "".join(f" {key}='{draw(st.sampled_from(ATTRIBUTES[key]))}'" for key in sorted(chosen))
    content = draw(st.sampled_from(["", "1", "0", "none", f"{MUC}#roomconfig", f"{MUC}#request"]))
    if depth < 3:
        content += "".join(draw(st.lists(elements(depth + 1), max_size=2)))
    declaration = f" xmlns='{namespace}'" if namespace else ""
    return f"<{name}{declaration}{attributes}>{content}</{name}>"


@settings(max_examples=200, deadline=None)
@given(
    st.lists(
        st.tuples(
            st.sampled_from(["message", "presence", "iq"]),
            st.lists(elements(), max_size=2).map("".join),
            st.sampled_from(["r.x", "verona@r.x", "verona@r.x/romeo", "verona@r.x/juliet", "v@r.x", "v@r.x/n"]),
            st.sampled_from(["romeo", "juliet", "tybalt"]),
            st.sampled_from([None, "get", "set", "result", "error", "groupchat", "chat", "unavailable", "subscribe"]),
        ),
        min_size=1,
        max_size=4,
    )
)
def test_whatever_comes_is_answered_once_and_raises_nothing(
    said: list[tuple[str, str, str, str, str | None]],
) -> None:
    town = Town()
    town.enter("romeo", "juliet")
    for kind, content, to, name, type_ in said:
        data = stamp(f"<{kind} id='7'>{content}</{kind}>".encode(), to=to, from_=str(person(name)), type_=type_)
        stanza = Stanza.read(data)
        town.rooms.receive(stanza, town.now)
        everything = [parse(each) for inbox in town.inboxes.values() for each in inbox]
        errors = [each for each in town.taken(name) if each.get("type") == "error" and each.get("id") == "7"]
        relayed = type_ == "error" and to == f"verona@r.x/{name}"  # to oneself
        assert len(errors) <= (1 if stanza.answerable or relayed else 0)
        if kind == "iq" and type_ in ("get", "set"):  # RFC 6120 section 8.2.3: one answer, or somebody else is asked
            answers = [each for each in everything if each.get("type") in ("result", "error") and each.get("id") == "7"]
            asked = [
                each for each in everything if each.get("type") == type_ and each.get("from") == f"verona@r.x/{name}"
            ]
            assert len(answers) + len(asked) == 1
        town.inboxes.clear()
