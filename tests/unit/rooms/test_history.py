"""What a new occupant gets to read."""

from dataclasses import replace

import pytest

from megaphone.history.entry import Kind
from megaphone.rooms.history import Tail
from megaphone.stream.archive import Archived, Erasure, Said
from tests.unit.rooms.town import ROOM, SETTINGS, START, Town


def history(town: Town, wanted: str, name: str = "juliet") -> list[str]:
    """The bodies of the history that somebody gets who enters, and who leaves again."""
    town.say(name, f"<presence to='verona@r.x/{name}'><x xmlns='muc'>{wanted}</x></presence>")
    found = town.taken(name)
    last = found.pop()
    assert last.find("{jabber:client}subject") is not None
    messages = [each for each in found if each.tag == "{jabber:client}message"]
    for each in messages:
        delay = each.find("{urn:xmpp:delay}delay")
        assert delay is not None
        assert delay.get("from") == str(ROOM)
    assert found[len(found) - len(messages) :] == messages  # behind all presences
    town.say(name, f"<presence to='verona@r.x/{name}' type='unavailable'/>")
    town.inboxes.clear()
    return [each.findtext("{jabber:client}body", "?") for each in messages]


def town_of_five(**fields: str) -> Town:
    """A room in which five messages were said, one each ten seconds."""
    town = Town()
    town.enter("romeo")
    if fields:
        town.configure(**fields)
    for number in range(5):
        town.now = START + 10 * number
        town.say("romeo", f"<message to='verona@r.x' type='groupchat'><body>{number}</body></message>")
        hint = "<no-store xmlns='urn:xmpp:hints'/>"
        town.say("romeo", f"<message to='verona@r.x' type='groupchat'><body>no store</body>{hint}</message>")
        town.say(
            "romeo",
            "<message to='verona@r.x' type='groupchat'><composing xmlns='http://jabber.org/protocol/chatstates'/></message>",
        )
    town.inboxes.clear()
    return town


@pytest.mark.parametrize(
    ("wanted", "bodies"),
    [
        ("", "01234"),
        ("<history/>", "01234"),
        ("<history maxstanzas='2'/>", "34"),
        ("<history maxstanzas='0'/>", ""),
        ("<history maxchars='0'/>", ""),
        ("<history maxchars='700'/>", "34"),
        ("<history seconds='20'/>", "234"),
        ("<history seconds='0'/>", "4"),
        ("<history since='2023-11-14T22:13:40Z'/>", "234"),
        ("<history since='2023-11-14T23:13:40.000+01:00' maxstanzas='2'/>", "34"),
        ("<history since='2023-11-14T22:13:40'/>", "01234"),
        ("<history since='yesterday' seconds='-1' maxstanzas='1e3' maxchars='\u0663x'/>", "01234"),
        ("<history maxstanzas='999999999999999999999999999'/>", "01234"),
        ("<history since='9999-12-31T23:59:59-23:59'/>", ""),
    ],
)
def test_as_much_as_is_asked_for(wanted: str, bodies: str) -> None:
    assert "".join(history(town_of_five(), wanted)) == bodies


def test_and_no_more_than_the_room_gives() -> None:
    assert history(town_of_five(historylength="3"), "<history maxstanzas='4'/>") == ["2", "3", "4"]
    assert history(town_of_five(historylength="0"), "") == []


def entry(number: int, length: int) -> Archived:
    return Archived(str(number), Said(0.0, Kind.MESSAGE, "a@x", "a@x", "n", b"x" * length))


def test_tail_is_bounded() -> None:
    tail = Tail(3, 100)
    for number in range(10):
        tail.append(entry(number, 10))
    assert [each.id for each in tail.all()] == ["7", "8", "9"]
    tail.append(entry(10, 85))
    assert [each.id for each in tail.all()] == ["9", "10"]
    tail.erase(Erasure("9", b"x"))
    tail.append(entry(11, 14))
    assert [each.id for each in tail.all()] == ["9", "10", "11"]
    tail.append(entry(12, 101))
    assert tail.all() == ()


def test_history_comes_back_from_the_store() -> None:
    town = town_of_five(persistentroom="1")
    expected = history(town, "")
    again = Town(store=town.store, archive=town.archive)
    again.now = START  # the clock may even have gone back
    again.rooms.load()
    assert history(again, "") == expected == list("01234")
    again.enter("romeo")
    again.say("romeo", "<message to='verona@r.x' type='groupchat'><body>5</body></message>")
    ids = [int(each.id) for each in again.archive.entries[ROOM]]
    assert ids == sorted(set(ids))
    assert history(again, "") == list("012345")


def test_messages_before_a_room_became_persistent_are_kept() -> None:
    town = town_of_five()
    assert town.archive.entries == {}
    town.configure(persistentroom="1")
    assert len(town.archive.entries[ROOM]) == 5
    town.configure(persistentroom="0")
    assert town.archive.entries == {}
    assert history(town, "") == list("01234")


def test_limits_of_the_operator() -> None:
    town = Town(replace(SETTINGS, history_limit=2))
    town.enter("romeo")
    for number in range(5):
        town.say("romeo", f"<message to='verona@r.x' type='groupchat'><body>{number}</body></message>")
    assert history(town, "") == ["3", "4"]
