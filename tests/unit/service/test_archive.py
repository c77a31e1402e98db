"""The archives of users: what goes in, once for each; ids, claims to ids; pages, preferences, retraction."""

from dataclasses import replace
from xml.etree.ElementTree import Element

import pytest
from hypothesis import given
from hypothesis import strategies as st

from megaphone.errors import ArchiveError
from megaphone.stream.jid import JID
from megaphone.stream.stanza import parse
from tests.unit.service.world import World

ROMEO, JULIET = JID("romeo", "example.org"), JID("juliet", "example.org")
RESULT = "{urn:xmpp:mam:2}result"
FIN = "{urn:xmpp:mam:2}fin"
PREFS = "{urn:xmpp:mam:2}prefs"
RSM = "{http://jabber.org/protocol/rsm}"
SID = "{urn:xmpp:sid:0}stanza-id"
RETRACT = "<retract xmlns='urn:xmpp:message-retract:1' id='{}'/>"
STATE = "<composing xmlns='http://jabber.org/protocol/chatstates'/>"
HINT = "<{} xmlns='urn:xmpp:hints'/>"


def world(**settings: object) -> World:
    """Juliet and Romeo are there, Romeo twice, with carbons; everything is archived."""
    made = World(archive=True, **settings)
    for name in ("juliet/balcony", "romeo/pda", "romeo/garden"):
        made.send(name, "<presence/>")
        made.send(name, "<iq type='set' id='c'><enable xmlns='urn:xmpp:carbons:2'/></iq>")
    forget(made)
    return made


def forget(made: World) -> None:
    for name in made.clients:
        made.take(name)


def ask(made: World, name: str, query: str = "<query xmlns='urn:xmpp:mam:2'/>", type_: str = "set") -> list[Element]:
    forget(made)
    made.send(name, f"<iq type='{type_}' id='q'>{query}</iq>")
    answer = [parse(each) for each in made.take(name)]
    assert answer[-1].get("id") == "q"
    return answer


def query(rsm: str = "", fields: str = "", rest: str = "") -> str:
    type_ = "<field var='FORM_TYPE'><value>urn:xmpp:mam:2</value></field>"
    form = f"<x xmlns='jabber:x:data' type='submit'>{type_}{fields}</x>" if fields else ""
    page = f"<set xmlns='http://jabber.org/protocol/rsm'>{rsm}</set>" if rsm else ""
    return f"<query xmlns='urn:xmpp:mam:2'>{form}{page}{rest}</query>"


def field(var: str, value: str) -> str:
    return f"<field var='{var}'><value>{value}</value></field>"


def archived(answer: list[Element]) -> list[Element]:
    found = [each.find(".//{jabber:client}message") for each in answer[:-1]]
    return [each for each in found if each is not None]


def bodies(made: World, name: str, asked: str = query()) -> list[str]:
    return [each.findtext("{jabber:client}body") or "" for each in archived(ask(made, name, asked))]


def condition(stanza: Element) -> str:
    error = stanza.find("{jabber:client}error")
    return "" if error is None else error[0].tag.partition("}")[2]


def say(made: World, name: str, to: str, body: str, rest: str = "") -> None:
    made.now += 1
    made.send(name, f"<message to='{to}' type='chat' id='m-{body}'><body>{body}</body>{rest}</message>")


def test_a_message_is_in_both_archives_once() -> None:
    made = world()
    say(made, "juliet/balcony", "romeo@example.org", "wherefore")
    ids = []
    for name in ("romeo/pda", "romeo/garden"):
        (heard,) = map(parse, made.take(name))
        message = heard if heard.find("{jabber:client}body") is not None else heard.find(".//{jabber:client}message")
        assert message is not None
        (mark,) = message.findall(SID)  # of the own archive, none of Juliet's
        assert mark.get("by") == str(ROMEO)
        ids.append(mark.get("id"))
    for name, owner in (("romeo/pda", ROMEO), ("juliet/balcony", JULIET)):
        (result, end) = ask(made, name)
        assert result.get("from") == str(owner)
        (message,) = archived([result, end])
        assert message.attrib == {
            "from": "juliet@example.org/balcony",
            "to": "romeo@example.org",
            "type": "chat",
            "id": "m-wherefore",
        }
        assert message.findtext("{jabber:client}body") == "wherefore"
        fin = end.find(FIN)
        assert fin is not None
        assert fin.get("complete") == "true"
        if owner == ROMEO:
            assert ids == [result[0].get("id")] * 2


def test_the_senders_other_clients_learn_the_id_in_the_senders_archive() -> None:
    made = world()
    say(made, "romeo/pda", "juliet@example.org", "hark")
    (carbon,) = map(parse, made.take("romeo/garden"))
    (mark,) = carbon.iter(SID)
    assert mark.get("by") == str(ROMEO)
    assert [each[0].get("id") for each in ask(made, "romeo/garden")[:-1]] == [mark.get("id")]


def test_messages_to_oneself_are_archived_once() -> None:
    made = world()
    say(made, "romeo/pda", "romeo@example.org/garden", "note")
    say(made, "romeo/pda", "juliet@example.org", "hark")
    assert bodies(made, "romeo/pda") == ["note", "hark"]
    assert bodies(made, "romeo/pda", query(fields=field("with", "romeo@example.org"))) == ["note"]


@pytest.mark.parametrize(
    ("stanza", "is_kept"),
    [
        ("<message type='chat'><body>x</body></message>", True),
        ("<message><body>x</body></message>", True),
        ("<message type='normal'><body>x</body></message>", True),
        ("<message type='nonsense'><body>x</body></message>", True),
        ("<message type='headline'><body>x</body></message>", False),
        ("<message type='groupchat'><body>x</body></message>", False),
        ("<message type='error'><body>x</body></message>", False),
        (f"<message type='chat'>{STATE}</message>", False),
        (f"<message type='chat'>{STATE}{HINT.format('store')}</message>", True),
        (f"<message type='chat'><body>x</body>{HINT.format('no-store')}</message>", False),
        (f"<message type='chat'><body>x</body>{HINT.format('no-permanent-store')}</message>", False),
        ("<message type='chat'><received xmlns='urn:xmpp:receipts' id='1'/></message>", True),
        ("<message type='chat'><displayed xmlns='urn:xmpp:chat-markers:0' id='1'/></message>", True),
        ("<message type='chat'><reactions xmlns='urn:xmpp:reactions:0' id='1'/></message>", True),
        ("<message type='chat'><encrypted xmlns='eu.siacs.conversations.axolotl'/></message>", True),
        (f"<message type='chat'>{RETRACT.format('1')}</message>", True),
        ("<message><subject>x</subject></message>", False),
    ],
)
def test_what_is_archived(stanza: str, is_kept: bool) -> None:
    made = world()
    made.send("juliet/balcony", stanza.replace("<message", "<message to='romeo@example.org/pda'"))
    assert len(made.archive.entries.get(ROMEO, [])) == is_kept
    assert len(made.archive.entries.get(JULIET, [])) == is_kept


def test_what_is_refused_is_not_in_the_archive_of_who_refused_it() -> None:
    made = world(offline_messages_per_user=1)
    made.end("romeo/pda")
    made.end("romeo/garden")
    say(made, "juliet/balcony", "romeo@example.org", "one")
    say(made, "juliet/balcony", "romeo@example.org", "two")
    assert [each.said.message for each in made.archive.entries[ROMEO]] == ["m-one"]
    made.bind("romeo/pda")
    made.send(
        "romeo/pda",
        "<iq type='set' id='b'><block xmlns='urn:xmpp:blocking'><item jid='juliet@example.org'/></block></iq>",
    )
    say(made, "juliet/balcony", "romeo@example.org", "three")
    assert [each.said.message for each in made.archive.entries[ROMEO]] == ["m-one"]
    say(made, "juliet/balcony", "nobody@example.org", "four")
    assert JID("nobody", "example.org") not in made.archive.entries


def test_what_waits_has_its_id_too() -> None:
    made = world()
    made.end("romeo/pda")
    made.end("romeo/garden")
    say(made, "juliet/balcony", "romeo@example.org", "one")
    made.send("romeo/new", "<presence/>")
    heard = [parse(each) for each in made.take("romeo/new")]
    (message,) = [each for each in heard if each.tag == "{jabber:client}message"]
    (mark,) = message.findall(SID)
    assert [each.id for each in made.archive.entries[ROMEO]] == [mark.get("id")]


def test_nobody_else_says_under_which_id_it_is_archived() -> None:
    made = world()
    claims = (
        "<stanza-id xmlns='urn:xmpp:sid:0' by='romeo@example.org' id='claimed'/>"
        "<stanza-id xmlns='urn:xmpp:sid:0' by='room@conference.example.org' id='theirs'/>"
        "<s:stanza-id xmlns:s='urn:xmpp:sid:0' by='ROMEO@example.org' id='claimed too'/>"
        "<stanza-id xmlns='urn:other' by='romeo@example.org'/>"
    )
    for state in ("", HINT.format("no-store")):
        say(made, "juliet/balcony", "romeo@example.org/pda", "x", claims + state)
        heard = parse(made.take("romeo/pda")[-1])
        marks = [(each.get("by"), each.get("id")) for each in heard.findall(SID)]
        own = [("romeo@example.org", made.archive.entries[ROMEO][-1].id)] if not state else []
        assert marks == [("room@conference.example.org", "theirs"), *own]


def test_pages_and_filters() -> None:
    made = world()
    for number in range(6):
        say(made, "juliet/balcony", "romeo@example.org", str(number))
    say(made, "nurse/home", "romeo@example.org/pda", "nurse")
    say(made, "romeo/pda", "juliet@example.org/balcony", "six")
    ids = [each.id for each in made.archive.entries[ROMEO]]
    assert bodies(made, "romeo/pda", query("<max>2</max><before/>")) == ["nurse", "six"]
    assert bodies(made, "romeo/pda", query(f"<max>2</max><after>{ids[1]}</after>")) == ["2", "3"]
    assert bodies(made, "romeo/pda", query("<max>2</max>", rest="<flip-page/>")) == ["1", "0"]
    assert bodies(made, "romeo/pda", query(fields=field("with", "nurse@example.org"))) == ["nurse"]
    assert bodies(made, "romeo/pda", query(fields=field("with", "juliet@example.org/balcony")))[-2:] == ["5", "six"]
    assert bodies(made, "romeo/pda", query(fields=field("with", "juliet@example.org/orchard"))) == []
    assert bodies(made, "romeo/pda", query(fields=field("ids", ids[3]))) == ["3"]
    for asked, refusal in [
        (query("<after>1</after>"), "item-not-found"),
        (query("<max>-1</max>"), "bad-request"),
        (query(fields=field("full-text", "x")), "feature-not-implemented"),
        (query(fields=field("with", "@")), "jid-malformed"),
    ]:
        (answer,) = ask(made, "romeo/pda", asked)
        assert condition(answer) == refusal
    (answer,) = ask(made, "romeo/pda", "<metadata xmlns='urn:xmpp:mam:2'/>", "get")
    assert [each.get("id") for each in answer[0]] == [ids[0], ids[-1]]
    (answer,) = ask(made, "romeo/pda", "<query xmlns='urn:xmpp:mam:2'/>", "get")
    assert "with" in {each.get("var") for each in answer.iter("{jabber:x:data}field")}


@given(size=st.integers(1, 9), backwards=st.booleans(), before=st.integers(0, 20), between=st.integers(0, 2))
def test_pages_are_the_whole(size: int, backwards: bool, before: int, between: int) -> None:
    made = world(archive_page=9)
    said = [str(number) for number in range(before)]
    for body in said:
        say(made, "juliet/balcony", "romeo@example.org", body)
    seen: list[str] = []
    rsm = "<before/>" if backwards else ""
    for _ in range(100):
        answer = ask(made, "romeo/pda", query(f"<max>{size}</max>{rsm}"))
        found = [each.findtext("{jabber:client}body") or "" for each in archived(answer)]
        seen = found + seen if backwards else seen + found
        fin = answer[-1].find(FIN)
        assert fin is not None
        if fin.get("complete") == "true":
            break
        first, last = (fin.findtext(f"{RSM}set/{RSM}{name}") for name in ("first", "last"))
        rsm = f"<before>{first}</before>" if backwards else f"<after>{last}</after>"
        for _ in range(between if len(said) < 40 else 0):
            said.append(str(len(said)))
            say(made, "juliet/balcony", "romeo@example.org", said[-1])
    assert seen == (said[:before] if backwards else said)


def test_an_archive_is_for_its_owner_alone() -> None:
    made = world()
    say(made, "juliet/balcony", "romeo@example.org", "x")
    for request, type_ in ((query(), "set"), (query(), "get"), ("<prefs xmlns='urn:xmpp:mam:2'/>", "get")):
        forget(made)
        made.send("juliet/balcony", f"<iq to='romeo@example.org' type='{type_}' id='q'>{request}</iq>")
        (answer,) = map(parse, made.take("juliet/balcony"))
        assert condition(answer) == "service-unavailable"


def test_without_archives() -> None:
    """The default: nothing is kept, nothing is offered, and messages take the short way."""
    made = World()
    made.send("juliet/balcony", "<presence/>")
    made.send("romeo/pda", "<presence/>")
    say(made, "juliet/balcony", "romeo@example.org", "x")
    heard = parse(made.take("romeo/pda")[-1])
    assert heard.find(SID) is None
    assert made.archive.entries == {}
    (answer,) = ask(made, "romeo/pda")
    assert condition(answer) == "service-unavailable"
    info = ask(made, "romeo/pda", "<query xmlns='http://jabber.org/protocol/disco#info'/>", "get")[0]
    assert not [each for each in info.iter() if "mam" in each.get("var", "")]
    assert made.services[0].plain_targets
    assert made.sessions["romeo/pda"].plain_sender


def test_messages_that_are_archived_take_no_short_way() -> None:
    made = world()
    service = made.services[0]
    assert service.plain_targets == {}
    assert not any(session.plain_sender for session in made.sessions.values())
    service.apply(replace(made.settings, archive=False))
    made.send("romeo/garden", "<presence type='unavailable'/>")
    made.end("romeo/garden")
    assert service.plain_targets
    service.apply(made.settings)
    assert service.plain_targets == {}


def test_discovery() -> None:
    made = world()
    info = ask(made, "romeo/pda", "<query xmlns='http://jabber.org/protocol/disco#info'/>", "get")[0]
    features = {each.get("var") for each in info.iter()}
    assert {"urn:xmpp:mam:2", "urn:xmpp:mam:2#extended", "urn:xmpp:sid:0", "urn:xmpp:message-retract:1"} <= features


def test_anonymous_users_have_none() -> None:
    made = world()
    made.bind("guest/g", anonymous=True)
    say(made, "guest/g", "romeo@example.org", "x")
    assert JID("guest", "example.org") not in made.archive.entries
    assert bodies(made, "romeo/pda") == ["x"]
    for request in (query(), "<prefs xmlns='urn:xmpp:mam:2' default='never'/>"):
        (answer,) = ask(made, "guest/g", request)
        assert condition(answer) == "service-unavailable"


def test_answers_that_did_not_arrive_are_not_given_to_others() -> None:
    made = world()
    say(made, "juliet/balcony", "romeo@example.org", "x")
    forget(made)
    made.send("romeo/pda", f"<iq type='set' id='q'>{query()}</iq>")
    results = tuple(made.take("romeo/pda"))
    made.end("romeo/pda", requeue=results)
    assert not [each for each in made.take("romeo/garden") if b"urn:xmpp:mam:2" in each]
    assert len(made.archive.entries[ROMEO]) == 1


# --- preferences ---


def prefs(default: str, always: str = "", never: str = "") -> str:
    lists = "".join(
        f"<{name}>{f'<jid>{jid}</jid>' if jid else ''}</{name}>" for name, jid in (("always", always), ("never", never))
    )
    return f"<prefs xmlns='urn:xmpp:mam:2' default='{default}'>{lists}</prefs>"


@pytest.mark.parametrize(
    ("wanted", "kept"),
    [
        (prefs("always"), True),
        (prefs("never"), False),
        (prefs("roster"), False),
        (prefs("always", never="juliet@example.org"), False),
        (prefs("always", never="juliet@example.org/orchard"), True),
        (prefs("never", always="juliet@example.org"), True),
        (prefs("roster", always="juliet@example.org/balcony"), True),
        (prefs("never", always="juliet@example.org/balcony", never="juliet@example.org"), True),
    ],
)
def test_preferences(wanted: str, kept: bool) -> None:
    made = world()
    (answer,) = ask(made, "romeo/pda", wanted)
    assert (answer.get("type"), answer[0].tag) == ("result", PREFS)
    say(made, "juliet/balcony", "romeo@example.org/pda", "x")
    say(made, "romeo/pda", "juliet@example.org/balcony", "y")
    assert len(bodies(made, "romeo/pda")) == 2 * kept
    assert len(made.archive.entries[JULIET]) == 2  # hers are her own affair
    # they are kept, and known to whoever asks
    fresh = World(archive=True)
    fresh.store, fresh.archive = made.store, made.archive
    fresh.services = [fresh.new_service()]
    (again,) = ask(fresh, "romeo/pda", "<prefs xmlns='urn:xmpp:mam:2'/>", "get")
    assert again[0].get("default") == answer[0].get("default")
    assert sorted(each.text or "" for each in again.iter("{urn:xmpp:mam:2}jid")) == sorted(
        each.text or "" for each in answer.iter("{urn:xmpp:mam:2}jid")
    )


def test_contacts_only() -> None:
    made = world()
    ask(made, "romeo/pda", prefs("roster"))
    made.send(
        "romeo/pda",
        "<iq type='set' id='r'><query xmlns='jabber:iq:roster'><item jid='juliet@example.org'/></query></iq>",
    )
    say(made, "juliet/balcony", "romeo@example.org/pda", "x")
    say(made, "nurse/home", "romeo@example.org/pda", "y")
    say(made, "romeo/garden", "romeo@example.org/pda", "z")
    assert bodies(made, "romeo/pda") == ["x", "z"]


@pytest.mark.parametrize(
    ("wanted", "refusal"),
    [
        ("<prefs xmlns='urn:xmpp:mam:2'/>", "bad-request"),
        (prefs("sometimes"), "bad-request"),
        (prefs("always", never="@"), "jid-malformed"),
        (prefs("always", always="a@b", never="c@d"), "resource-constraint"),
    ],
)
def test_preferences_that_are_none(wanted: str, refusal: str) -> None:
    made = world(archive_preferences=1)
    (answer,) = ask(made, "romeo/pda", wanted)
    assert condition(answer) == refusal
    (answer,) = ask(made, "romeo/pda", "<prefs xmlns='urn:xmpp:mam:2'/>", "get")
    assert answer[0].get("default") == "always"


# --- retraction ---


def retract(made: World, name: str, to: str, id_: str) -> None:
    made.now += 1
    made.send(name, f"<message to='{to}' type='chat' id='r'>{RETRACT.format(id_)}<body>gone</body></message>")


@pytest.mark.parametrize("named_by", ["id", "origin-id"])
def test_the_author_takes_a_message_back(named_by: str) -> None:
    made = world()
    origin = "<origin-id xmlns='urn:xmpp:sid:0' id='origin'/>" if named_by == "origin-id" else ""
    say(made, "juliet/balcony", "romeo@example.org", "wherefore", origin)
    say(made, "juliet/balcony", "romeo@example.org", "b")
    retract(made, "juliet/balcony", "romeo@example.org", "origin" if origin else "m-wherefore")
    for name, owner in (("romeo/pda", ROMEO), ("juliet/balcony", JULIET)):
        first, second, third = archived(ask(made, name))
        assert first.find("{jabber:client}body") is None
        retracted = first.find("{urn:xmpp:message-retract:1}retracted")
        assert retracted is not None
        assert retracted.attrib == {"id": "r", "stamp": "1970-01-01T00:00:03.000Z"}
        assert first.get("from") == "juliet@example.org/balcony"
        assert first.get("to") == "romeo@example.org"
        assert second.findtext("{jabber:client}body") == "b"
        assert third.find("{urn:xmpp:message-retract:1}retract") is not None
        assert not any(b">wherefore<" in each.said.stanza for each in made.archive.entries[owner][:1])


def test_nobody_takes_back_what_others_have_said() -> None:
    made = world()
    say(made, "juliet/balcony", "romeo@example.org", "a")
    retract(made, "romeo/pda", "juliet@example.org", "m-a")
    retract(made, "nurse/home", "romeo@example.org", "m-a")
    retract(made, "nurse/home", "juliet@example.org", "m-a")
    retract(made, "juliet/balcony", "romeo@example.org", "other")
    assert not any(each.erased for owner in (ROMEO, JULIET) for each in made.archive.entries[owner])


def test_nobody_is_known_by_a_nick() -> None:
    """Who has a nick in a room now may be somebody else than who had it then."""
    made = world()
    private = (
        "<message to='romeo@example.org/pda' from='room@conference.example.org/nick' type='chat' id='p'>{}</message>"
    )
    made.receive_routed(private.format("<body>private</body>"))
    made.receive_routed(private.format(RETRACT.format("p")))
    assert [each.erased for each in made.archive.entries[ROMEO]] == [False, False]


def test_what_cannot_be_archived_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    """Whoever sends it is told, and nobody gets it."""
    made = world()

    def append(*_: object, **__: object) -> None:
        raise ArchiveError("policy-violation", "this message is too large to be archived")

    monkeypatch.setattr(made.archive, "append", append)
    made.send("juliet/balcony", "<message to='romeo@example.org' type='chat' id='m'><body>long</body></message>")
    (refused,) = [parse(each) for each in made.take("juliet/balcony")]
    assert (refused.get("type"), refused.get("id"), condition(refused)) == ("error", "m", "policy-violation")
    assert made.take("romeo/pda") == []
