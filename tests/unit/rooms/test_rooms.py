"""The rooms' domain, the room list, limits of the whole, and homes that die."""

from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from megaphone.rooms.ports import RoomConfig
from megaphone.stream.jid import JID
from megaphone.stream.stanza import Stanza, parse
from tests.unit.rooms.town import DOMAIN, ROOM, SETTINGS, Town, condition, person
from tests.unit.wire.stanzas import stanzas
from tests.unit.wire.streams import STREAM_SCOPE

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


def test_a_stanza_without_addresses_is_the_hosts_mistake() -> None:
    town = Town()
    for data in (b"<message to='verona@r.x'/>", b"<message from='romeo@x/c'/>"):
        with pytest.raises(ValueError, match="both addresses"):
            town.rooms.receive(Stanza.read(data), town.now)


@settings(max_examples=60)
@given(
    st.lists(
        st.tuples(
            stanzas(STREAM_SCOPE),
            st.sampled_from(["r.x", "verona@r.x", "verona@r.x/romeo", "verona@r.x/juliet", "v@r.x", "v@r.x/n"]),
            st.sampled_from(["romeo", "juliet", "tybalt"]),
            st.sampled_from([None, "get", "set", "result", "error", "groupchat", "chat", "unavailable", "subscribe"]),
        ),
        max_size=5,
    )
)
def test_whatever_comes_is_answered_at_most_once_and_raises_nothing(
    said: list[tuple[str, str, str, str | None]],
) -> None:
    town = Town()
    town.enter("romeo", "juliet")
    for text, to, name, type_ in said:
        try:
            stanza = Stanza.read(Stanza.read(text.encode()).stamped(to=to, from_=person(name), type_=type_))
        except ValueError:
            continue
        town.rooms.receive(stanza, town.now)
        for inbox in town.inboxes.values():
            for each in inbox:
                parse(each)
        errors = [each for each in town.taken(name) if each.get("type") == "error"]
        assert len(errors) <= (0 if not stanza.answerable else 1)
        town.inboxes.clear()
