"""The archive of a room: who may read it, what is in it, pages of it, and that most cost no look at the disk."""

from dataclasses import replace
from xml.etree.ElementTree import Element

import pytest
from hypothesis import given
from hypothesis import strategies as st

from megaphone.errors import ArchiveError
from megaphone.rooms import moving
from megaphone.stream.archive import Archived, Erasure, Said
from megaphone.stream.jid import JID
from tests.unit.memory_archive import MemoryArchive
from tests.unit.rooms.town import ROOM, SETTINGS, START, Town, condition

RESULT = "{urn:xmpp:mam:2}result"
FIN = "{urn:xmpp:mam:2}fin"
RSM = "{http://jabber.org/protocol/rsm}"
SID = "{urn:xmpp:sid:0}stanza-id"
BODY = "{jabber:client}body"
ITEM = "{http://jabber.org/protocol/muc#user}x/{http://jabber.org/protocol/muc#user}item"
COMPOSING = "<composing xmlns='http://jabber.org/protocol/chatstates'/>"


def ask(town: Town, name: str, query: str = "<query xmlns='urn:xmpp:mam:2'/>", type_: str = "set") -> list[Element]:
    """All that comes of a request of somebody's; the result, or error, is the last of it."""
    town.inboxes.clear()
    town.say(name, f"<iq to='{ROOM}' type='{type_}' id='q'>{query}</iq>")
    answer = town.taken(name)
    assert not any(town.inboxes.values())
    assert (answer[-1].tag, answer[-1].get("id")) == ("{jabber:client}iq", "q")
    return answer


def query(rsm: str = "", fields: str = "", rest: str = "") -> str:
    type_ = "<field var='FORM_TYPE'><value>urn:xmpp:mam:2</value></field>"
    form = f"<x xmlns='jabber:x:data' type='submit'>{type_}{fields}</x>" if fields else ""
    page = f"<set xmlns='http://jabber.org/protocol/rsm'>{rsm}</set>" if rsm else ""
    return f"<query xmlns='urn:xmpp:mam:2'>{form}{page}{rest}</query>"


def field(var: str, *values: str) -> str:
    return f"<field var='{var}'>{''.join(f'<value>{value}</value>' for value in values)}</field>"


def entries(answer: list[Element]) -> list[tuple[str, str]]:
    """Ids and bodies of the entries in an answer that has not been refused."""
    fin = answer[-1].find(FIN)
    assert fin is not None
    found = []
    for each in answer[:-1]:
        assert each.get("from") == str(ROOM)
        result = each[0]
        assert result.tag == RESULT
        message = result.find(".//{jabber:client}message")
        assert message is not None
        assert message.get("to") is None
        mark = message.find(SID)
        assert mark is not None
        assert (mark.get("by"), mark.get("id")) == (str(ROOM), result.get("id"))
        found.append((result.get("id", ""), message.findtext(BODY) or message.findtext("{jabber:client}subject") or ""))
    ids = [id_ for id_, _ in found]
    if ids:
        first, last = fin.findtext(f"{RSM}set/{RSM}first"), fin.findtext(f"{RSM}set/{RSM}last")
        assert {first, last} == {ids[0], ids[-1]}
    return found


def bodies(answer: list[Element]) -> list[str]:
    return [body for _, body in entries(answer)]


def is_complete(answer: list[Element]) -> bool:
    fin = answer[-1].find(FIN)
    assert fin is not None
    return fin.get("complete") == "true"


def talk(town: Town, *texts: str, name: str = "romeo") -> None:
    for text in texts:
        town.now += 1
        town.say(name, f"<message to='{ROOM}' type='groupchat' id='m-{text}'><body>{text}</body></message>")
    town.inboxes.clear()


@pytest.fixture(params=["temporary", "persistent"])
def town(request: pytest.FixtureRequest) -> Town:
    town = Town()
    town.enter("romeo", "juliet")
    if request.param == "persistent":
        town.configure(persistentroom="1")
    return town


def test_what_is_in_it(town: Town) -> None:
    """Messages with a body and subjects, as everybody got them; nothing that is private or not to be stored."""
    talk(town, "one")
    town.say("juliet", f"<message to='{ROOM}' type='groupchat'>{COMPOSING}</message>")
    (typing,) = town.taken("romeo")
    assert typing.find(SID) is None  # what is in no archive has no id in it
    hint = "<no-store xmlns='urn:xmpp:hints'/>"
    town.say("juliet", f"<message to='{ROOM}' type='groupchat'><body>secret</body>{hint}</message>")
    town.say("juliet", f"<message to='{ROOM}/romeo' type='chat'><body>private</body></message>")
    town.say("romeo", f"<message to='{ROOM}' type='groupchat'><subject>Masks</subject></message>")
    town.say("juliet", f"<message to='{ROOM}' type='groupchat' id='m-two'><body>two</body></message>")
    live = town.taken("romeo")[-1]
    answer = ask(town, "juliet")
    assert bodies(answer) == ["one", "Masks", "two"]
    assert is_complete(answer)
    forwarded = answer[-2].find(".//{jabber:client}message")
    assert forwarded is not None
    assert forwarded.attrib == {"from": f"{ROOM}/juliet", "type": "groupchat", "id": "m-two"}
    assert [each.tag for each in forwarded] == [each.tag for each in live]
    mark = live.find(SID)
    assert mark is not None
    assert entries(answer)[-1] == (mark.get("id"), "two")
    delay = answer[0].find(".//{urn:xmpp:delay}delay")
    assert delay is not None
    assert delay.get("stamp") == "2023-11-14T22:13:21.000Z"


def test_pages(town: Town) -> None:
    talk(town, *"abcdefg")
    ids = [id_ for id_, _ in entries(ask(town, "juliet"))]
    first = ask(town, "juliet", query("<max>3</max>"))
    assert (bodies(first), is_complete(first)) == (["a", "b", "c"], False)
    after = ask(town, "juliet", query(f"<max>3</max><after>{ids[3]}</after>"))
    assert (bodies(after), is_complete(after)) == (["e", "f", "g"], True)
    last = ask(town, "juliet", query("<max>3</max><before/>"))
    assert (bodies(last), is_complete(last)) == (["e", "f", "g"], False)
    before = ask(town, "juliet", query(f"<max>9</max><before>{ids[2]}</before>"))
    assert (bodies(before), is_complete(before)) == (["a", "b"], True)
    flipped = ask(town, "juliet", query("<max>3</max><before/>", rest="<flip-page/>"))
    assert bodies(flipped) == ["g", "f", "e"]
    fin = flipped[-1].find(FIN)
    assert fin is not None
    assert fin.findtext(f"{RSM}set/{RSM}first") == ids[4]  # it is the same page, sent otherwise
    count = ask(town, "juliet", query("<max>0</max>"))
    assert len(count) == 1
    fin = count[0].find(FIN)
    assert fin is not None
    assert fin.findtext(f"{RSM}set/{RSM}count") == "7"


def test_filters(town: Town) -> None:
    talk(town, *"abc")
    talk(town, *"de", name="juliet")
    ids = {body: id_ for id_, body in entries(ask(town, "juliet"))}
    for fields, expected in [
        (field("start", "2023-11-14T22:13:22Z"), "bcde"),
        (field("start", "2023-11-14T22:13:22Z") + field("end", "2023-11-14T22:13:24Z"), "bcd"),
        (field("after-id", ids["b"]), "cde"),
        (field("before-id", ids["b"]), "a"),
        (field("before-id", ids["d"]) + field("after-id", ids["a"]), "bc"),
        (field("ids", ids["e"], ids["a"]), "ae"),
        (field("with", f"{ROOM}/juliet"), "de"),
    ]:
        assert "".join(bodies(ask(town, "juliet", query(fields=fields)))) == expected
    assert "".join(bodies(ask(town, "romeo", query(fields=field("with", "juliet@x"))))) == "de"  # a moderator
    (refused,) = ask(town, "juliet", query(fields=field("with", "romeo@x")))
    assert condition(refused) == "forbidden"  # who is who is no visitor's business
    town.configure(whois="anyone")
    assert "".join(bodies(ask(town, "juliet", query(fields=field("with", "romeo@x"))))) == "abc"


@pytest.mark.parametrize(
    ("asked", "refusal"),
    [
        (query("<max>x</max>"), "bad-request"),
        (query("<index>1</index>"), "feature-not-implemented"),
        (query("<after>1</after>"), "item-not-found"),
        (query("<before>nonsense</before>"), "item-not-found"),
        (query(fields=field("after-id", "1")), "item-not-found"),
        (query(fields=field("before-id", "1")), "item-not-found"),
        (query(fields=field("ids", "1")), "item-not-found"),
        (query(fields=field("full-text", "x")), "feature-not-implemented"),
        (query(fields=field("start", "yesterday")), "bad-request"),
        (query(fields=field("with", str(ROOM))), "bad-request"),
        (query(fields=field("with", "@")), "jid-malformed"),
    ],
)
def test_refusals(town: Town, asked: str, refusal: str) -> None:
    talk(town, "a")
    (answer,) = ask(town, "romeo", asked)
    assert condition(answer) == refusal


def test_who_may_read_it() -> None:
    """Whoever may enter now, there or not (XEP-0313 section 6.1.2)."""
    town = Town()
    town.enter("romeo", "juliet")
    talk(town, "a")
    assert bodies(ask(town, "paris")) == ["a"]
    assert town.admin("romeo", "<item affiliation='outcast' jid='tybalt@x'/>") == ""
    assert town.admin("romeo", "<item affiliation='member' jid='benvolio@x'/>") == ""
    for request in (query(), "<metadata xmlns='urn:xmpp:mam:2'/>"):
        (refused,) = ask(town, "tybalt", request, "set" if "query" in request else "get")
        assert condition(refused) == "forbidden"
    town.configure(passwordprotectedroom="1", roomsecret="balcony")
    assert condition(ask(town, "paris")[0]) == "forbidden"
    assert condition(ask(town, "benvolio")[0]) == "forbidden"
    assert bodies(ask(town, "juliet")) == ["a"]  # is inside
    assert bodies(ask(town, "romeo/elsewhere")) == ["a"]  # an owner could look the password up
    town.configure(passwordprotectedroom="0", membersonly="1")
    assert condition(ask(town, "paris")[0]) == "forbidden"
    assert bodies(ask(town, "benvolio")) == ["a"]
    (nowhere,) = ask(Town(), "romeo")
    assert condition(nowhere) == "item-not-found"


def test_real_jids_are_for_those_who_may_know_them(town: Town) -> None:
    talk(town, "a", name="juliet")

    def item(name: str) -> Element | None:
        message = ask(town, name)[0].find(".//{jabber:client}message")
        assert message is not None
        return message.find(ITEM)

    assert item("juliet") is None
    assert item("paris") is None
    shown = item("romeo")
    assert shown is not None
    assert shown.attrib == {"affiliation": "none", "jid": "juliet@x"}
    town.configure(whois="anyone")
    shown = item("paris")
    assert shown is not None
    assert shown.get("jid") == "juliet@x"


def test_form_and_metadata(town: Town) -> None:
    empty = ask(town, "juliet", "<metadata xmlns='urn:xmpp:mam:2'/>", "get")
    assert len(empty[0][0]) == 0
    talk(town, *"abc")
    ids = [id_ for id_, _ in entries(ask(town, "juliet"))]
    (answer,) = ask(town, "juliet", "<metadata xmlns='urn:xmpp:mam:2'/>", "get")
    start, end = answer[0]
    assert (start.get("id"), start.get("timestamp")) == (ids[0], "2023-11-14T22:13:21.000Z")
    assert (end.get("id"), end.get("timestamp")) == (ids[2], "2023-11-14T22:13:23.000Z")
    (answer,) = ask(town, "juliet", "<query xmlns='urn:xmpp:mam:2'/>", "get")
    assert {each.get("var") for each in answer.iter("{jabber:x:data}field")} >= {"with", "start", "end", "ids"}


def test_discovery() -> None:
    town = Town()
    town.enter("romeo")
    town.say("romeo", f"<iq to='{ROOM}' type='get' id='i'><query xmlns='disco#info'/></iq>")
    features = {each.get("var") for each in town.taken("romeo")[0].iter()}
    assert {
        "urn:xmpp:mam:2",
        "urn:xmpp:mam:2#extended",
        "urn:xmpp:sid:0",
        "urn:xmpp:message-retract:1",
        "urn:xmpp:message-retract:1#tombstone",
        "urn:xmpp:message-moderate:1",
    } <= features


def test_a_page_is_bounded() -> None:
    town = Town(replace(SETTINGS, page_limit=10))
    town.enter("romeo")
    town.configure(persistentroom="1")
    talk(town, *map(str, range(25)))
    assert bodies(ask(town, "romeo")) == [str(number) for number in range(10)]
    assert bodies(ask(town, "romeo", query("<max>1000</max><before/>"))) == [str(number) for number in range(15, 25)]
    talk(town, "x" * 700_000, "y" * 700_000)
    answer = ask(town, "romeo", query("<before/>"))
    assert [body[:1] for body in bodies(answer)] == ["y"]
    assert not is_complete(answer)


def test_catching_up_needs_no_look_at_the_disk() -> None:
    town = Town(replace(SETTINGS, history_limit=50))
    town.enter("romeo")
    town.configure(persistentroom="1")
    talk(town, *map(str, range(80)))
    ids = [each.id for each in town.archive.entries[ROOM]]
    asked = town.archive.pages
    assert bodies(ask(town, "romeo", query(f"<after>{ids[70]}</after>"))) == [str(number) for number in range(71, 80)]
    assert len(bodies(ask(town, "romeo", query("<max>20</max><before/>")))) == 20
    assert town.archive.pages == asked
    assert len(bodies(ask(town, "romeo", query(f"<after>{ids[10]}</after>")))) == 69
    assert len(bodies(ask(town, "romeo", query("<max>60</max><before/>")))) == 60
    assert town.archive.pages == asked + 2


@given(
    size=st.integers(1, 9),
    backwards=st.booleans(),
    persistent=st.booleans(),
    before=st.integers(0, 30),
    between=st.integers(0, 2),
    memory=st.integers(1, 40),
)
def test_pages_are_the_whole(
    size: int, backwards: bool, persistent: bool, before: int, between: int, memory: int
) -> None:
    """Any page size, both ways, while people talk on: nothing is missing, nothing comes twice."""
    town = Town(replace(SETTINGS, history_limit=memory if persistent else 200, page_limit=9))
    town.enter("romeo")
    if persistent:
        town.configure(persistentroom="1")
    said = [str(number) for number in range(before)]
    talk(town, *said)
    seen: list[str] = []
    rsm = "<before/>" if backwards else ""
    for _ in range(100):
        answer = ask(town, "romeo", query(f"<max>{size}</max>{rsm}"))
        found = entries(answer)
        seen = [body for _, body in found] + seen if backwards else seen + [body for _, body in found]
        if is_complete(answer):
            break
        assert len(found) == size
        rsm = f"<before>{found[0][0]}</before>" if backwards else f"<after>{found[-1][0]}</after>"
        if len(said) < 60:
            more = [str(len(said) + number) for number in range(between)]
            said += more
            talk(town, *more)
    assert seen == (said[:before] if backwards else said)


def test_it_survives_its_process() -> None:
    town = Town()
    town.enter("romeo")
    town.configure(persistentroom="1")
    talk(town, *"abc")
    ids = [id_ for id_, _ in entries(ask(town, "romeo"))]
    again = Town(store=town.store, archive=town.archive)
    again.now = town.now
    again.rooms.load()
    talk(again, "nobody hears this")
    again.enter("romeo")
    talk(again, "d")
    found = entries(ask(again, "romeo"))
    assert [id_ for id_, _ in found[:3]] == ids
    assert [body for _, body in found] == ["a", "b", "c", "d"]


def test_a_room_that_becomes_persistent_takes_its_archive_along() -> None:
    town = Town()
    town.enter("romeo")
    talk(town, *"ab")
    before = entries(ask(town, "romeo"))
    town.configure(persistentroom="1")
    assert entries(ask(town, "romeo")) == before
    assert [each.id for each in town.archive.entries[ROOM]] == [id_ for id_, _ in before]
    town.configure(persistentroom="0")
    assert entries(ask(town, "romeo")) == before
    assert ROOM not in town.archive.entries


def test_a_destroyed_room_is_forgotten() -> None:
    town = Town()
    town.enter("romeo")
    town.configure(persistentroom="1")
    talk(town, "a")
    town.say("romeo", f"<iq to='{ROOM}' type='set' id='d'><query xmlns='muc#owner'><destroy/></query></iq>")
    assert ROOM not in town.archive.entries
    town.enter("tybalt")
    assert bodies(ask(town, "tybalt")) == []


def test_what_older_versions_wrote_has_its_id_once(town: Town) -> None:
    """They kept messages with the stanza-id in them."""
    talk(town, "a")
    room = town.rooms.room(ROOM)
    assert room is not None
    (entry,) = room.tail.all()
    assert room.marked(entry) == room.marked(entry._replace(said=entry.said._replace(stanza=room.marked(entry))))


def test_the_clock_of_the_room_does_not_matter(town: Town) -> None:
    """Entries stay in their order when the time goes back; filters go by the time."""
    talk(town, *"ab")
    town.now = START - 100
    talk(town, *"cd")
    assert bodies(ask(town, "romeo")) == ["a", "b", "c", "d"]
    assert bodies(ask(town, "romeo", query(fields=field("start", "2023-11-14T22:13:20Z")))) == ["a", "b"]


def test_what_cannot_be_archived_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    town = Town()
    town.enter("romeo")
    town.configure(persistentroom="1")

    def append(*_: object, **__: object) -> None:
        raise ArchiveError("policy-violation", "this message is too large to be archived")

    monkeypatch.setattr(town.archive, "append", append)
    town.inboxes.clear()
    town.say("romeo", f"<message to='{ROOM}' type='groupchat' id='m'><body>long</body></message>")
    (refused,) = town.taken("romeo")
    assert (refused.get("type"), refused.get("id")) == ("error", "m")
    assert condition(refused) == "policy-violation"


class HashedArchive(MemoryArchive):
    """One whose ids are no numbers, as those of logs."""

    def append(self, owner: JID, said: Said, *, erases: Erasure | None = None, erased: bool = False) -> Archived:
        entry = super().append(owner, said, erases=erases, erased=erased)
        self.entries[owner][-1] = entry = entry._replace(id=f"id-{entry.id}")
        return entry


def test_a_room_that_was_persistent_moves_with_its_ids() -> None:
    """To a process that follows it while people talk on: what is temporary now has ids of both kinds."""
    town = Town(archive=HashedArchive())
    town.enter("romeo")
    town.configure(persistentroom="1")
    talk(town, *"ab")
    town.configure(persistentroom="0")
    talk(town, "c")
    successor = Town()
    moved = moving.Moving(town.rooms)
    for change in moved.everything():
        moving.take(successor.rooms, change)
    talk(town, "d")
    for change in moved.changes():
        moving.take(successor.rooms, change)
    room, former = successor.rooms.room(ROOM), town.rooms.room(ROOM)
    assert room is not None
    assert former is not None
    assert room.tail.all() == former.tail.all()
    assert len({each.id for each in room.tail.all()}) == len(room.tail.all()) >= 4
    assert [each.id.startswith("id-") for each in room.tail.all()][-4:] == [True, True, False, False]
