"""A room on several nodes, as its occupants see it: one room, whatever node they are connected to."""

from dataclasses import replace

from megaphone.history.entry import Kind
from megaphone.rooms.events import Closed
from megaphone.rooms.ports import Affiliation, Role
from megaphone.stream.archive import Archived, Said
from megaphone.stream.jid import JID
from tests.unit.rooms.sea import RESUME_SECONDS, Node, Sea
from tests.unit.rooms.town import DOMAIN, ROOM, SETTINGS, person

JOIN = "<x xmlns='muc'/>"
OPEN = (
    f"<iq to='{ROOM}' type='set' id='o'><query xmlns='muc#owner'><x xmlns='jabber:x:data' type='submit'/></query></iq>"
)


def enter(sea: Sea, node: str, name: str, nick: str = "") -> None:
    nick = nick or name.partition("/")[0]
    sea[node].say(name, f"<presence to='{ROOM}/{nick}'>{JOIN}</presence>")
    sea.calm()


def verona(*names: str, open_: bool = True) -> Sea:
    """A room that romeo has made on the first node, and that all nodes have."""
    sea = Sea(*(names or ("a", "b", "c")))
    enter(sea, "a", "romeo")
    if open_:
        sea["a"].say("romeo", OPEN)
        sea.replicate()
        sea.calm()
    hush(sea)
    return sea


def hush(sea: Sea) -> None:
    for node in sea.nodes.values():
        node.inboxes.clear()


def got(node: Node, name: str) -> list[str]:
    """What somebody has got: in short, "+nick", "-nick 303 new" and so on for presence, the body of messages."""
    found: list[str] = []
    for each in node.taken(name):
        kind = each.tag.rpartition("}")[2]
        nick = (each.get("from") or "").partition("/")[2]
        codes = [status.get("code", "") for status in each.iter("{http://jabber.org/protocol/muc#user}status")]
        items = list(each.iter("{http://jabber.org/protocol/muc#user}item"))
        if kind == "presence" and each.get("type") == "error":
            error = each.find("{jabber:client}error")
            assert error is not None
            found.append(f"!{error[0].tag.rpartition('}')[2]}")
        elif kind == "presence":
            sign = "-" if each.get("type") == "unavailable" else "+"
            new = [item.get("nick", "") for item in items if item.get("nick")]
            found.append(" ".join([f"{sign}{nick}", *codes, *new]))
        else:
            body = each.findtext("{jabber:client}body")
            late = any("delay" in child.tag for child in each)
            found.append(
                f"{nick}: {body}{' (late)' if late else ''}"
                if body
                else f"<{kind} {' '.join(codes)}>".replace(" >", ">")
            )
    return found


def test_those_of_other_nodes_are_there_and_come_and_go() -> None:
    sea = verona()
    enter(sea, "b", "juliet")
    assert got(sea["b"], "juliet") == ["+romeo", "+juliet 110", "<message>"]
    assert got(sea["a"], "romeo") == ["+juliet"]
    sea["b"].say("juliet", f"<presence to='{ROOM}/juliet'><show>away</show></presence>")
    sea["b"].say("juliet", f"<presence to='{ROOM}/capulet'/>")
    sea.calm()
    assert got(sea["a"], "romeo") == ["+juliet", "-juliet 303 capulet", "+capulet"]
    sea["b"].say("juliet", f"<presence to='{ROOM}' type='unavailable'><status>adieu</status></presence>")
    sea.calm()
    (leaving,) = sea["a"].taken("romeo")
    assert leaving.findtext("{jabber:client}status") == "adieu"
    views = sea.views()
    assert views["a"] == views["b"] == views["c"]
    assert set(views["c"]) == {"romeo"}


def test_somebody_elses_nick_on_another_node_is_a_conflict() -> None:
    sea = verona()
    enter(sea, "b", "juliet", "romeo")
    assert got(sea["b"], "juliet") == ["!conflict"]
    enter(sea, "b", "juliet")
    hush(sea)
    sea["a"].say("romeo", f"<presence to='{ROOM}/juliet'/>")
    assert got(sea["a"], "romeo") == ["!conflict"]


def test_the_same_user_on_two_nodes_is_one_occupant() -> None:
    sea = verona()
    enter(sea, "b", "juliet")
    hush(sea)
    enter(sea, "c", "romeo/phone")
    assert "+romeo 110" in got(sea["c"], "romeo/phone")
    assert got(sea["b"], "juliet") == ["+romeo"]
    views = sea.views()
    assert views["a"] == views["b"] == views["c"]
    assert set(views["a"]) == {"romeo", "juliet"}
    assert views["b"]["romeo"][1] is Role.MODERATOR
    sea["a"].say("romeo", f"<presence to='{ROOM}' type='unavailable'/>")
    sea.calm()
    assert not [line for line in got(sea["b"], "juliet") if line.startswith("-")]
    assert set(sea.views()["b"]) == {"romeo", "juliet"}


def test_who_enters_a_room_that_is_new_here_waits_for_the_other_nodes() -> None:
    sea = verona(open_=False)
    sea["b"].say("juliet", f"<presence to='{ROOM}/juliet'>{JOIN}</presence>")
    assert got(sea["b"], "juliet") == []
    sea.calm()
    assert got(sea["b"], "juliet") == ["!item-not-found"]  # it is being made
    sea["a"].say("romeo", OPEN)
    sea["b"].say("juliet", f"<presence to='{ROOM}/juliet'>{JOIN}</presence>")
    sea["b"].say("juliet", f"<message to='{ROOM}' type='groupchat'><body>hello</body></message>")
    sea.calm()
    assert got(sea["b"], "juliet") == ["+romeo", "+juliet 110", "<message>", "juliet: hello"]
    room = sea["b"].rooms.room(ROOM)
    assert room is not None
    assert room.affiliations.of(person("romeo")) is Affiliation.OWNER
    assert room.secret == sea["a"].rooms.room(ROOM).secret  # type: ignore[union-attr]


def test_who_enters_waits_no_longer_than_a_second() -> None:
    sea = verona()
    sea["b"].say("juliet", f"<presence to='tower@{DOMAIN}/juliet'>{JOIN}</presence>")
    assert got(sea["b"], "juliet") == []
    for row in sea.under_way.values():
        row.clear()  # lost
    sea.pass_(0.9)
    assert got(sea["b"], "juliet") == []
    sea.pass_(0.2)
    assert got(sea["b"], "juliet") == ["+juliet 110 201", "<message>"]


def test_a_node_dies_and_its_occupants_leave_when_nobody_could_resume() -> None:
    sea = verona()
    enter(sea, "b", "juliet")
    enter(sea, "b", "nurse")
    hush(sea)
    sea.die("b")
    sea.calm()
    assert got(sea["a"], "romeo") == []
    sea.pass_(RESUME_SECONDS - 1)
    enter(sea, "c", "juliet/new", "juliet")  # on another node, with the same nick
    assert "+juliet" in got(sea["a"], "romeo")
    sea.pass_(2)
    sea.calm()
    assert got(sea["a"], "romeo") == ["-nurse 333"]
    views = sea.views()
    assert views["a"] == views["b"] == views["c"]
    assert set(views["a"]) == {"romeo", "juliet"}


def test_a_node_that_goes_down_in_order_takes_its_occupants_along() -> None:
    sea = verona()
    enter(sea, "b", "juliet")
    hush(sea)
    sea["b"].rooms.shut_down()
    sea.calm()
    assert got(sea["a"], "romeo") == ["-juliet 332"]
    assert got(sea["b"], "juliet") == ["-juliet 110 332"]


def test_a_clash_of_nicks_after_a_cut() -> None:
    sea = verona()
    for one, other in (("a", "b"), ("b", "c")):
        sea.separate(one, other)
    sea.pass_(1)
    enter(sea, "a", "paris", "count")
    sea.pass_(1)
    enter(sea, "b", "tybalt", "count")
    enter(sea, "b", "juliet")
    enter(sea, "c", "nurse")
    hush(sea)
    for one, other in (("a", "b"), ("b", "c")):
        sea.heal(one, other)
    sea.calm()
    changes = [line for line in got(sea["b"], "tybalt") if "count" in line]
    assert changes == ["-count 110 303 count (b)", "+count (b) 110 210", "+count"]
    views = sea.views()
    assert views["a"] == views["b"] == views["c"]
    assert views["a"]["count"][0] == person("paris").bare
    assert views["a"]["count (b)"][0] == person("tybalt").bare


def test_a_clash_is_shown_as_a_change_of_nick_on_a_third_node() -> None:
    sea = verona()
    enter(sea, "c", "nurse")
    hush(sea)
    sea["a"].say("paris", f"<presence to='{ROOM}/count'>{JOIN}</presence>")
    for node in sea.nodes.values():
        node.now += 1
    sea["b"].say("tybalt", f"<presence to='{ROOM}/count'>{JOIN}</presence>")
    sea.arrive("b", "c")
    assert got(sea["c"], "nurse") == ["+count"]
    sea.calm()
    assert got(sea["c"], "nurse") == ["-count 303 count (b)", "+count (b)", "+count"]
    assert "-count" not in "".join(got(sea["a"], "paris"))
    views = sea.views()
    assert views["a"] == views["b"] == views["c"]


def test_moderation_over_nodes() -> None:
    sea = verona()
    enter(sea, "b", "juliet")
    enter(sea, "c", "nurse")
    hush(sea)
    assert sea["a"].admin("romeo", "<item nick='juliet' role='visitor'/>") == ""
    sea.calm()
    assert sea.views()["c"]["juliet"][1] is Role.VISITOR
    assert got(sea["b"], "juliet") == ["+juliet 110"]
    assert sea["a"].admin("romeo", "<item nick='juliet' role='none'><reason>out</reason></item>") == ""
    sea.calm()
    assert got(sea["b"], "juliet") == ["-juliet 110 307"]
    assert got(sea["c"], "nurse") == ["+juliet", "-juliet 307"]
    assert sea["a"].admin("romeo", "<item jid='nurse@x' affiliation='outcast'/>") == ""
    sea.calm()
    assert got(sea["c"], "nurse") == ["-nurse 110 301"]
    assert set(sea.views()["b"]) == {"romeo"}


def test_configuration_and_affiliations_come_as_rows() -> None:
    sea = verona()
    enter(sea, "b", "juliet")
    enter(sea, "c", "nurse")
    hush(sea)
    sea["a"].admin("romeo", "<item jid='juliet@x' affiliation='admin'/>")
    sea.replicate()
    sea.calm()
    assert sea.views()["a"]["juliet"][1] is Role.MODERATOR
    assert sea.views()["a"] == sea.views()["b"] == sea.views()["c"]
    hush(sea)
    sea["a"].configure(membersonly="1")
    sea.replicate()
    sea.calm()
    assert got(sea["b"], "juliet") == ["<message 104>", "-nurse 322"]
    assert got(sea["c"], "nurse") == ["<message 104>", "-nurse 110 322"]


def test_a_room_is_destroyed_everywhere() -> None:
    sea = verona()
    enter(sea, "b", "juliet")
    hush(sea)
    sea["a"].say(
        "romeo",
        f"<iq to='{ROOM}' type='set' id='d'><query xmlns='muc#owner'><destroy/></query></iq>",
    )
    sea.calm()
    (gone,) = sea["b"].taken("juliet")
    assert gone.find(".//{http://jabber.org/protocol/muc#user}destroy") is not None
    assert all(node.rooms.room(ROOM) is None for node in sea.nodes.values())


def test_a_temporary_room_ends_with_its_last_occupant_of_all_nodes() -> None:
    sea = verona()
    enter(sea, "b", "juliet")
    sea["a"].say("romeo", f"<presence to='{ROOM}' type='unavailable'/>")
    sea.calm()
    assert sea["a"].rooms.room(ROOM) is not None
    sea["b"].say("juliet", f"<presence to='{ROOM}' type='unavailable'/>")
    sea.calm()
    assert sea["b"].rooms.room(ROOM) is None
    assert ROOM not in sea["b"].store.records
    sea["c"].store.delete_room(ROOM)
    sea["c"].rooms.refresh(ROOM, sea.now)
    assert sea["c"].rooms.room(ROOM) is None


def test_a_row_that_has_gone_while_somebody_entered_is_written_again() -> None:
    sea = verona()
    enter(sea, "b", "juliet")
    sea["b"].store.delete_room(ROOM)
    sea["b"].rooms.refresh(ROOM, sea.now)
    sea.pass_(2.1)
    assert ROOM in sea["b"].store.records
    assert sea["b"].store.affiliated[ROOM]


def test_a_room_made_on_two_nodes_at_once() -> None:
    sea = Sea("a", "b", "c")
    sea.separate("a", "b")
    enter(sea, "a", "romeo")
    sea.pass_(1)
    enter(sea, "b", "juliet")
    for name, node in (("romeo", "a"), ("juliet", "b")):
        sea[node].say(name, OPEN)
    sea.heal("a", "b")
    sea.calm()
    sea.replicate()
    sea.replicate()
    sea.calm()
    for node in sea.nodes.values():
        room = node.rooms.room(ROOM)
        assert room is not None
        assert room.creator == person("romeo").bare
        assert room.affiliations.of(person("juliet")) is Affiliation.OWNER
        assert room.affiliations.of(person("romeo")) is Affiliation.OWNER
        assert room.secret == sea["a"].rooms.room(ROOM).secret  # type: ignore[union-attr]
    views = sea.views()
    assert views["a"] == views["b"] == views["c"]
    assert {nick: each[1] for nick, each in views["a"].items()} == {"romeo": Role.MODERATOR, "juliet": Role.MODERATOR}


def test_what_was_said_in_a_room_that_is_being_made_is_not_lost_when_another_has_made_it() -> None:
    sea = Sea("a", "b")
    sea.separate("a", "b")
    enter(sea, "a", "romeo")
    sea["a"].say("romeo", OPEN)
    sea.pass_(1)
    enter(sea, "b", "juliet")
    sea["b"].say("juliet", f"<message to='{ROOM}' type='groupchat'><body>alone</body></message>")
    assert not sea["b"].archive.entries
    sea.heal("a", "b")
    sea.replicate()
    sea.calm()
    room = sea["b"].rooms.room(ROOM)
    assert room is not None
    assert not room.locked
    assert room.creator == person("romeo").bare
    assert room.affiliations.of(person("juliet")) is Affiliation.OWNER
    assert [b"alone" in each.said.stanza for each in sea["b"].archive.entries[ROOM]] == [True]


def test_limits_count_all_nodes() -> None:
    sea = Sea("a", "b", settings=replace(SETTINGS, occupants_limit=2))
    enter(sea, "a", "romeo")
    sea["a"].say("romeo", OPEN)
    enter(sea, "b", "juliet")
    hush(sea)
    enter(sea, "b", "nurse")
    assert got(sea["b"], "nurse") == ["!service-unavailable"]


def test_private_messages_and_requests_between_nodes() -> None:
    sea = verona()
    enter(sea, "b", "juliet")
    hush(sea)
    sea["a"].say("romeo", f"<message to='{ROOM}/juliet' type='chat'><body>psst</body></message>")
    assert got(sea["b"], "juliet") == ["romeo: psst"]
    sea["a"].say("romeo", f"<iq to='{ROOM}/juliet' type='get' id='v'><query xmlns='jabber:iq:version'/></iq>")
    sea.calm()
    (request,) = sea["b"].taken("juliet")
    assert request.get("from") == f"{ROOM}/romeo"
    sea["b"].say("juliet", f"<iq to='{ROOM}/romeo' type='result' id='{request.get('id')}'/>")
    (answer,) = sea["a"].taken("romeo")
    assert (answer.get("from"), answer.get("id"), answer.get("type")) == (f"{ROOM}/juliet", "v", "result")
    sea["b"].say("juliet", f"<iq to='{ROOM}/juliet' type='get' id='p'><ping xmlns='urn:xmpp:ping'/></iq>")
    (answer,) = sea["b"].taken("juliet")
    assert answer.get("type") == "result"


def test_what_is_not_archived_and_what_is_for_moderators_crosses_too() -> None:
    sea = verona()
    enter(sea, "b", "juliet")
    sea["a"].configure(moderatedroom="1")
    sea.replicate()
    enter(sea, "c", "nurse")
    hush(sea)
    sea["a"].say(
        "romeo",
        f"<message to='{ROOM}' type='groupchat'><composing xmlns='http://jabber.org/protocol/chatstates'/></message>",
    )
    sea.calm()
    assert got(sea["b"], "juliet") == got(sea["c"], "nurse") == ["<message>"]
    hush(sea)
    sea["c"].say(
        "nurse",
        f"<message to='{ROOM}'><x xmlns='jabber:x:data' type='submit'><field var='FORM_TYPE'><value>http://jabber.org/protocol/muc#request"
        "</value></field><field var='muc#role'><value>participant</value></field></x></message>",
    )
    sea.calm()
    assert got(sea["a"], "romeo") == ["<message>"]
    assert got(sea["b"], "juliet") == []


def said(sea: Sea, text: str, *, ago: float = 0.0, kind: Kind = Kind.MESSAGE) -> Archived:
    stanza = f"<message from='{ROOM}/juliet' type='groupchat'><body>{text}</body></message>"
    if kind is Kind.SUBJECT:
        stanza = f"<message from='{ROOM}/juliet' type='groupchat'><subject>{text}</subject></message>"
    return Archived(f"id-{text}", Said(sea.now - ago, kind, "juliet@x", "juliet@x", "juliet", stanza.encode(), ""))


def test_what_the_log_brings() -> None:
    sea = verona()
    sea["a"].say("romeo", f"<message to='{ROOM}' type='groupchat'><body>here</body></message>")
    assert got(sea["a"], "romeo") == ["romeo: here"]
    sea.hear("a", ROOM, [said(sea, "old", ago=60.0), said(sea, "new")])
    sea.hear("a", ROOM, [said(sea, "verona", kind=Kind.SUBJECT)])
    assert got(sea["a"], "romeo") == ["juliet: old (late)", "juliet: new", "<message>"]
    enter(sea, "a", "nurse")
    history = [line for line in got(sea["a"], "nurse") if ":" in line]
    assert history == ["juliet: old (late)", "romeo: here (late)", "juliet: new (late)"]
    room = sea["a"].rooms.room(ROOM)
    assert room is not None
    assert room.subject is not None
    assert b"id-verona" in room.subject.message
    before = room.subject
    sea.hear("a", ROOM, [said(sea, "older", ago=5.0, kind=Kind.SUBJECT)])
    assert room.subject is before


def test_after_a_long_cut_old_messages_are_shown_in_bounds() -> None:
    sea = Sea("a", "b", settings=replace(SETTINGS, late_limit=3))
    enter(sea, "a", "romeo")
    sea["a"].say("romeo", OPEN)
    hush(sea)
    sea.hear("a", ROOM, [said(sea, f"m{number}", ago=100.0 - number) for number in range(10)])
    assert got(sea["a"], "romeo") == ["juliet: m7 (late)", "juliet: m8 (late)", "juliet: m9 (late)"]
    sea.hear("a", ROOM, [said(sea, "one more", ago=80.0), said(sea, "now")])
    assert got(sea["a"], "romeo") == ["juliet: now"]
    sea.pass_(61)
    sea.hear("a", ROOM, [said(sea, "again", ago=80.0)])
    assert got(sea["a"], "romeo") == ["juliet: again (late)"]


def test_a_session_goes_on_at_another_node_and_nobody_sees_it() -> None:
    sea = verona()
    enter(sea, "b", "juliet")
    hush(sea)
    sea["b"].rooms.session_moved(person("juliet"), sea.now)
    assert person("juliet") not in sea["b"].audience[ROOM]
    sea["c"].rooms.session_came(person("juliet"), sea.now)
    sea.calm()
    assert sea["c"].audience[ROOM] == {person("juliet"): False}
    assert got(sea["a"], "romeo") == got(sea["b"], "juliet") == got(sea["c"], "juliet") == []
    assert sea.views()["a"] == sea.views()["b"] == sea.views()["c"]
    sea.pass_(RESUME_SECONDS + 1)
    sea.calm()
    assert got(sea["a"], "romeo") == []


def test_a_session_that_nobody_goes_on_with_leaves() -> None:
    sea = verona()
    enter(sea, "b", "juliet")
    hush(sea)
    sea["b"].rooms.session_moved(person("juliet"), sea.now)
    sea.pass_(RESUME_SECONDS + 1)
    sea.calm()
    assert got(sea["a"], "romeo") == ["-juliet 333"]


def test_a_lost_event_is_found_out() -> None:
    sea = verona()
    enter(sea, "b", "juliet")
    sea["b"].say("juliet", f"<presence to='{ROOM}/juliet'><show>away</show></presence>")
    sea.under_way["b", "a"].clear()
    sea.calm()
    assert sea.views()["a"] != sea.views()["b"]
    for _ in range(70):
        sea.pass_(1)
    sea.calm()
    assert sea.views()["a"] == sea.views()["b"] == sea.views()["c"]


def test_the_wire_goes_and_comes_back() -> None:
    sea = verona()
    enter(sea, "b", "juliet")
    hush(sea)
    for each in ("b", "c"):
        sea.known.discard(("a", each))
    sea["a"].others.up(False, sea.now)
    sea.pass_(10)
    sea["b"].say("juliet", f"<presence to='{ROOM}/capulet'/>")
    sea.under_way["b", "a"].clear()
    for each in ("b", "c"):
        sea.known.add(("a", each))
    sea["a"].others.up(True, sea.now)
    sea.calm()
    assert got(sea["a"], "romeo") == ["-juliet 303 capulet", "+capulet"]
    sea.pass_(RESUME_SECONDS)
    sea.calm()
    assert got(sea["a"], "romeo") == []


def test_own_words_are_passed_over() -> None:
    sea = verona()
    room = sea["a"].rooms.room(ROOM)
    assert room is not None
    assert room.mirror is not None
    (claim,) = room.mirror.own.values()
    assert claim.session == JID("romeo", "x", "c")
    sea["a"].others.take(Closed(sea["a"].origin, ROOM, room.mirror.seq, room.mirror.seq + 1), sea.now)
    assert set(sea.views()["a"]) == {"romeo"}
