"""Messages taken back by their author and away by moderators: who may, what everybody hears, what is left."""

from dataclasses import replace
from xml.etree.ElementTree import Element

import pytest

from megaphone.rooms.moving import Moving, take
from tests.unit.rooms.test_archive import ask, talk
from tests.unit.rooms.town import ROOM, SETTINGS, Town, condition

BODY = "{jabber:client}body"
RETRACT = "{urn:xmpp:message-retract:1}retract"
RETRACTED = "{urn:xmpp:message-retract:1}retracted"
REASON = "{urn:xmpp:message-retract:1}reason"
MODERATED = "{urn:xmpp:message-moderate:1}moderated"
OCCUPANT_ID = "{urn:xmpp:occupant-id:0}occupant-id"
SID = "{urn:xmpp:sid:0}stanza-id"


@pytest.fixture(params=["temporary", "persistent"])
def town(request: pytest.FixtureRequest) -> Town:
    town = Town()
    town.enter("romeo", "juliet", "tybalt")
    if request.param == "persistent":
        town.configure(persistentroom="1")
    return town


def archived(town: Town, name: str = "romeo") -> list[Element]:
    """The messages in the archive's answer to somebody."""
    found = [each.find(".//{jabber:client}message") for each in ask(town, name)[:-1]]
    assert None not in found
    return [each for each in found if each is not None]


def id_of(message: Element) -> str:
    mark = message.find(SID)
    assert mark is not None
    return mark.get("id", "")


def retract(town: Town, name: str, id_: str) -> list[Element]:
    """Let somebody take a message back; returns what romeo hears of it, or what the one who tries gets for it."""
    town.inboxes.clear()
    fallback = "<fallback xmlns='urn:xmpp:fallback:0' for='urn:xmpp:message-retract:1'/><body>took it back</body>"
    town.say(
        name,
        f"<message to='{ROOM}' type='groupchat' id='r1'><retract xmlns='urn:xmpp:message-retract:1' id='{id_}'/>"
        f"{fallback}</message>",
    )
    return town.taken("romeo") or town.taken(name)


def moderate(
    town: Town, name: str, id_: str, content: str = "<retract xmlns='urn:xmpp:message-retract:1'/>"
) -> Element:
    town.inboxes.clear()
    request = f"<moderate xmlns='urn:xmpp:message-moderate:1' id='{id_}'>{content}</moderate>"
    town.say(name, f"<iq to='{ROOM}' type='set' id='m'>{request}</iq>")
    return town.taken(name)[-1]


def test_the_author_takes_a_message_back(town: Town) -> None:
    talk(town, "a", "wherefore", "c", name="juliet")
    target = archived(town)[1]
    (heard,) = retract(town, "juliet", id_of(target))
    element = heard.find(RETRACT)
    assert element is not None
    assert element.get("id") == id_of(target)
    assert heard.findtext(BODY) == "took it back"
    first, tombstone, third, retraction = archived(town)
    assert [first.findtext(BODY), third.findtext(BODY)] == ["a", "c"]
    assert id_of(tombstone) == id_of(target)
    assert tombstone.attrib == target.attrib
    assert tombstone.find(BODY) is None
    retracted = tombstone.find(RETRACTED)
    assert retracted is not None
    assert retracted.attrib == {"id": "r1", "stamp": "2023-11-14T22:13:23.000Z"}
    own, original = tombstone.find(OCCUPANT_ID), target.find(OCCUPANT_ID)
    assert own is not None
    assert original is not None
    assert own.attrib == original.attrib
    assert id_of(retraction) == id_of(heard)
    assert retraction.find(RETRACT) is not None


def test_what_was_said_is_nowhere_any_more(town: Town) -> None:
    talk(town, "wherefore", name="juliet")
    retract(town, "juliet", id_of(archived(town)[0]))
    room = town.rooms.room(ROOM)
    assert room is not None
    kept = [each.said.stanza for each in (*room.tail.all(), *town.archive.entries.get(ROOM, []))]
    assert kept
    assert not any(b">wherefore<" in each for each in kept)


def test_who_enters_sees_neither_the_message_nor_that_it_was_taken_back(town: Town) -> None:
    talk(town, "a", "b", "c", name="juliet")
    retract(town, "juliet", id_of(archived(town)[1]))
    assert condition(moderate(town, "romeo", id_of(archived(town)[2]))) == ""
    town.say("paris", f"<presence to='{ROOM}/paris'><x xmlns='muc'/></presence>")
    messages = [each for each in town.taken("paris") if each.tag == "{jabber:client}message"]
    assert [each.findtext(BODY) for each in messages[:-1]] == ["a"]


def test_nobody_takes_back_what_others_have_said(town: Town) -> None:
    talk(town, "a", name="juliet")
    (message,) = archived(town)
    (refused,) = retract(town, "tybalt", id_of(message))
    assert condition(refused) == "forbidden"
    assert [each.findtext(BODY) for each in archived(town)] == ["a"]
    # nor whoever has the nick later
    town.say("juliet", f"<presence to='{ROOM}/juliet' type='unavailable'/>")
    town.say("tybalt", f"<presence to='{ROOM}/juliet'/>")
    (refused,) = retract(town, "tybalt", id_of(message))
    assert condition(refused) == "forbidden"
    # but who has another nick now
    town.enter("juliet/2")
    town.say("juliet/2", f"<presence to='{ROOM}/capulet'><x xmlns='muc'/></presence>")
    (heard,) = retract(town, "juliet/2", id_of(message))
    assert heard.find(RETRACT) is not None
    assert archived(town)[0].find(RETRACTED) is not None


def test_what_the_archive_does_not_have_is_passed_on(town: Town) -> None:
    """The message may be older than the archive, and still be on somebody's screen."""
    (heard,) = retract(town, "juliet", "1234")
    assert heard.find(RETRACT) is not None
    (again,) = retract(town, "juliet", id_of(heard))  # a retraction is no message that can be taken back
    assert again.find(RETRACT) is not None
    assert [each.find(RETRACTED) for each in archived(town)] == [None, None]


def test_a_moderator_takes_a_message_away(town: Town) -> None:
    talk(town, "fie", name="tybalt")
    (target,) = archived(town)
    town.now += 60
    reason = "<retract xmlns='urn:xmpp:message-retract:1'/><reason>peace &amp; quiet</reason>"
    assert condition(moderate(town, "romeo", id_of(target), reason)) == ""
    (heard,) = town.taken("juliet")
    assert (heard.get("from"), heard.get("type")) == (str(ROOM), "groupchat")
    for name, message in (("live", heard), ("archived", archived(town)[1])):
        element = message.find(RETRACT)
        assert element is not None, name
        assert element.get("id") == id_of(target)
        assert element.findtext(REASON) == "peace & quiet"
        moderated = element.find(MODERATED)
        assert moderated is not None
        assert moderated.get("by") == f"{ROOM}/romeo"
        assert moderated.find(OCCUPANT_ID) is not None
        assert id_of(message) == id_of(heard)
    tombstone = archived(town, "juliet")[0]
    assert tombstone.attrib == target.attrib
    assert tombstone.find(OCCUPANT_ID) is not None
    retracted = tombstone.find(RETRACTED)
    assert retracted is not None
    assert retracted.attrib == {"id": heard.get("id"), "stamp": "2023-11-14T22:14:21.000Z"}
    assert retracted.findtext(REASON) == "peace & quiet"
    by = retracted.find(MODERATED)
    assert by is not None
    assert by.get("by") == f"{ROOM}/romeo"
    # once more is no change, and nobody hears of it
    assert condition(moderate(town, "romeo", id_of(target))) == ""
    assert not town.taken("juliet")
    assert len(archived(town)) == 2


def test_moderation_that_is_refused(town: Town) -> None:
    talk(town, "a")
    town.say("romeo", f"<message to='{ROOM}' type='groupchat'><subject>Masks</subject></message>")
    message, subject = map(id_of, archived(town))
    assert condition(moderate(town, "juliet", message)) == "forbidden"
    assert condition(moderate(town, "paris", message)) == "not-acceptable"
    assert condition(moderate(town, "romeo", "1234")) == "item-not-found"
    assert condition(moderate(town, "romeo", "")) == "bad-request"
    assert condition(moderate(town, "romeo", message, "")) == "feature-not-implemented"
    assert condition(moderate(town, "romeo", subject)) == "not-acceptable"
    assert [each.find(RETRACTED) for each in archived(town)] == [None, None]


def test_reasons_are_bounded() -> None:
    town = Town(replace(SETTINGS, reason_limit_characters=5))
    town.enter("romeo", "juliet")
    talk(town, "a")
    (target,) = archived(town)
    moderate(town, "romeo", id_of(target), "<retract xmlns='urn:xmpp:message-retract:1'/><reason>too long</reason>")
    (heard,) = town.taken("juliet")
    assert heard.findtext(f"{RETRACT}/{REASON}") == "too l"


def test_who_has_no_voice_takes_nothing_back() -> None:
    town = Town()
    town.enter("romeo", "juliet")
    talk(town, "a", name="juliet")
    assert town.admin("romeo", "<item nick='juliet' role='visitor'/>") == ""
    town.inboxes.clear()
    (refused,) = retract(town, "juliet", id_of(archived(town)[0]))
    assert condition(refused) == "forbidden"


@pytest.mark.parametrize("by", ["author", "moderator"])
def test_the_process_after_this_one_knows_that_it_is_gone(by: str) -> None:
    """Also of a temporary room, which is nowhere but in memory."""
    town = Town()
    town.enter("romeo", "juliet")
    talk(town, "a", "b", name="juliet")
    successor = town.new_rooms()
    moving = Moving(town.rooms)
    for change in moving.everything():
        take(successor, change)
    target = id_of(archived(town)[0])
    if by == "author":
        retract(town, "juliet", target)
    else:
        moderate(town, "romeo", target)
    for change in moving.changes():
        take(successor, change)
    moving.end()
    before, after = town.rooms.room(ROOM), successor.room(ROOM)
    assert before is not None
    assert after is not None
    assert after.tail.all() == before.tail.all()
    assert [each.erased for each in after.tail.all()] == [True, False, False]
