"""Messages to all and the subject, what they may not bring along, private messages."""

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st
from lxml import etree

from megaphone.rooms.groupchat import has_body, sets_subject
from megaphone.stream.stanza import Stanza
from tests.unit.rooms.town import ROOM, SETTINGS, Town, condition, expand, person

SID = "<stanza-id xmlns='urn:xmpp:sid:0' by='verona@r.x' id='{}'/>"


def test_who_may_not_speak() -> None:
    town = Town()
    town.enter("romeo")
    town.configure(moderatedroom="1")
    town.enter("juliet")
    town.play("""
juliet >> <message to='verona@r.x' type='groupchat' id='1'><body>hi</body></message>
juliet << <message from='verona@r.x' type='error' id='1'><error type='auth'><forbidden xmlns='stanzas'/></error>
           </message>
tybalt >> <message to='verona@r.x' type='groupchat' id='2'><body>hi</body></message>
tybalt << <message from='verona@r.x' type='error' id='2'><error type='cancel'><not-acceptable xmlns='stanzas'/>
           </error></message>
tybalt >> <message to='verona@r.x' type='error' id='3'/>
tybalt >> <message to='verona@r.x' type='chat' id='4'/>
tybalt << <message from='verona@r.x' type='error' id='4'><error type='modify'><bad-request xmlns='stanzas'/>
           </error></message>
tybalt >> <message to='verona@r.x' id='5'><body>?</body></message>
tybalt << <message from='verona@r.x' type='error' id='5'><error type='cancel'>
           <service-unavailable xmlns='stanzas'/></error></message>
tybalt >> <message to='verona@r.x/romeo' type='chat' id='6'><body>?</body></message>
tybalt << <message from='verona@r.x/romeo' type='error' id='6'><error type='cancel'>
           <not-acceptable xmlns='stanzas'/></error></message>
tybalt >> <message to='capulets@r.x' type='groupchat' id='7'><body>?</body></message>
tybalt << <message from='capulets@r.x' type='error' id='7'><error type='cancel'><item-not-found xmlns='stanzas'/>
           </error></message>
""")


def test_subject() -> None:
    town = Town()
    town.enter("romeo", "juliet")
    town.play(f"""
juliet >> <message to='verona@r.x' type='groupchat' id='1'><subject>Masks</subject></message>
juliet << <message from='verona@r.x' type='error' id='1'><error type='auth'><forbidden xmlns='stanzas'/></error>
           </message>
juliet >> <message to='verona@r.x' type='groupchat' id='2'><subject>Masks</subject>
           <body>no subject of the room</body></message>
romeo << <message from='verona@r.x/juliet' type='groupchat' id='2'><subject>Masks</subject>
           <body>no subject of the room</body>{SID.format("1700000000000000")}</message>
juliet << <message from='verona@r.x/juliet' type='groupchat' id='2'><subject>Masks</subject>
           <body>no subject of the room</body>{SID.format("1700000000000000")}</message>
romeo >> <message to='verona@r.x' type='groupchat' id='3'><subject>Masks</subject></message>
romeo << <message from='verona@r.x/romeo' type='groupchat' id='3'><subject>Masks</subject>
           {SID.format("1700000000000001")}</message>
juliet << <message from='verona@r.x/romeo' type='groupchat' id='3'><subject>Masks</subject>
           {SID.format("1700000000000001")}</message>
""")
    town.now += 5
    town.play(f"""
tybalt >> <presence to='verona@r.x/tybalt'><x xmlns='muc'><history maxstanzas='0'/></x></presence>
tybalt << <presence from='verona@r.x/romeo'><x xmlns='muc#user'><item affiliation='owner' role='moderator'/></x>
           </presence>
tybalt << <presence from='verona@r.x/juliet'><x xmlns='muc#user'><item affiliation='none' role='participant'/></x>
           </presence>
tybalt << <presence from='verona@r.x/tybalt'><x xmlns='muc#user'>
           <item affiliation='none' role='participant' jid='tybalt@x/c'/><status code='110'/></x></presence>
tybalt << <message from='verona@r.x/romeo' type='groupchat' id='3'><subject>Masks</subject>
           {SID.format("1700000000000001")}
           <delay xmlns='urn:xmpp:delay' from='verona@r.x' stamp='2023-11-14T22:13:20.000Z'/></message>
romeo << <presence from='verona@r.x/tybalt'><x xmlns='muc#user'>
           <item affiliation='none' role='participant' jid='tybalt@x/c'/></x></presence>
juliet << <presence from='verona@r.x/tybalt'><x xmlns='muc#user'><item affiliation='none' role='participant'/></x>
           </presence>
""")
    town.configure(changesubject="1")
    town.say("juliet", "<message to='verona@r.x' type='groupchat'><subject/></message>")
    assert [each.get("from") for each in town.taken("tybalt")] == ["verona@r.x/juliet"]
    town.say("romeo", f"<message to='verona@r.x' type='groupchat'><subject>{'M' * 4096}</subject></message>")
    assert [condition(each) for each in town.taken("romeo")] == ["", "not-acceptable"]
    town.say("romeo", "<message to='verona@r.x' type='groupchat'><subject>A</subject><thread>t</thread></message>")
    assert town.rooms.room(ROOM).subject.message.count(b"<subject/>") == 1  # type: ignore[union-attr]


FRAGMENTS = st.recursive(
    st.sampled_from(["body", "subject", " ", "<thread/>", "<x/>"]),
    lambda inner: st.builds(
        lambda name, namespace, content: f"<{name}{namespace}>{''.join(content)}</{name}>",
        st.sampled_from(["body", "subject", "thread", "html", "x", "bodyguard"]),
        st.sampled_from(["", "", " xmlns='jabber:client'", " xmlns='urn:x'", " xmlns='jabber:clien&#x74;'"]),
        st.lists(inner, max_size=3),
    ),
    max_leaves=8,
)


@given(st.lists(FRAGMENTS, max_size=4))
def test_body_and_subject_are_found_exactly(fragments: list[str]) -> None:
    data = f"<message>{''.join(fragments)}</message>".encode()
    names = {child.tag for child in etree.fromstring(data.replace(b"<message>", b"<message xmlns='jabber:client'>"))}
    body, subject, thread = (f"{{jabber:client}}{name}" in names for name in ("body", "subject", "thread"))
    stanza = Stanza.read(data)
    assert has_body(stanza) is body
    assert sets_subject(stanza) is (subject and not body and not thread)


@pytest.mark.parametrize(
    ("data", "body", "subject"),
    [
        ("<message><body/></message>", True, False),
        ("<message><x><body/></x></message>", False, False),
        ("<message><html xmlns='urn:h'><body xmlns='http://www.w3.org/1999/xhtml'/></html></message>", False, False),
        ("<message><active xmlns='urn:c'/><c:body xmlns:c='jabber:client'/></message>", True, False),
        ("<message><body xmlns='urn:other'/>body</message>", False, False),
        ("<message><subject xmlns='urn:other'/></message>", False, False),
        ("<message>subject<c:subject xmlns:c='jabber:clien&#116;'/></message>", False, True),
        ("<message><x><subject/></x></message>", False, False),
    ],
)  # fmt: skip
def test_body_and_subject(data: str, body: bool, subject: bool) -> None:
    stanza = Stanza.read(data.encode())
    assert (has_body(stanza), sets_subject(stanza)) == (body, subject)


@pytest.mark.parametrize(
    ("sent", "kept"),
    [
        ("<stanza-id xmlns='urn:xmpp:sid:0' by='verona@r.x' id='1'/>", False),
        ("<s:stanza-id xmlns:s='urn:xmpp:sid&#58;0' by='Verona@R.x/any' id='1'/>", False),
        ("<stanza-id xmlns='urn:xmpp:sid:0' id='1'/>", False),
        ("<stanza-id xmlns='urn:xmpp:sid:0' by='romeo@x' id='1'/>", True),
        ("<origin-id xmlns='urn:xmpp:sid:0' id='1'/>", True),
        ("<occupant-id xmlns='urn:xmpp:occupant-id:0' id='1'/>", False),
        ("<delay xmlns='urn:xmpp:delay' from='verona@r.x' stamp='2002-10-13T23:58:37Z'/>", False),
        ("<delay xmlns='urn:xmpp:delay' stamp='2002-10-13T23:58:37Z'/>", False),
        ("<delay xmlns='urn:xmpp:delay' from='bridge.example' stamp='2002-10-13T23:58:37Z'/>", True),
        ("<x xmlns='jabber:x:delay' stamp='20021013T23:58:37'/>", False),
        ("<x xmlns='muc#user'><status code='104'/></x>", False),
        ("<u:x xmlns:u='http://jabber.org/protocol/muc&#x23;user'/>", False),
        ("<x xmlns='jabber:x:oob'><url>https://x/delay</url></x>", True),
        ("<x xmlns='jabber:x:conference' jid='other@r.x'/>", True),
    ],
)
def test_what_is_forged_goes(sent: str, kept: bool) -> None:
    town = Town()
    town.enter("romeo", "juliet")
    for kind, to in (("groupchat", "verona@r.x"), ("chat", "verona@r.x/juliet")):
        town.say("romeo", f"<message to='{to}' type='{kind}'>{sent}<body>b</body></message>")
        (message,) = town.inboxes[person("juliet")]
        assert (expand(sent).encode() in message) is kept
        assert b"<body>b</body>" in message
        assert message.count(b"<occupant-id ") == 1
        assert message.count(b" by='verona@r.x'") == (kind == "groupchat")
        town.inboxes.clear()


def test_flooding_is_refused() -> None:
    town = Town(replace(SETTINGS, messages_per_second=0.2))
    town.enter("romeo")
    said = []
    for _ in range(3):
        town.say("romeo", "<message to='verona@r.x' type='groupchat'><body>b</body></message>")
        said += [condition(each) for each in town.taken("romeo")]
    assert said == ["", "", "resource-constraint"]
    town.now += 5
    town.say("romeo", "<message to='verona@r.x' type='groupchat'><body>b</body></message>")
    assert [condition(each) for each in town.taken("romeo")] == [""]


@pytest.mark.parametrize(
    ("allowed", "names"),
    [
        ("anyone", ["romeo", "juliet", "tybalt"]),
        ("participants", ["romeo", "juliet"]),
        ("moderators", ["romeo"]),
        ("none", []),
    ],
)
def test_private_messages_by_role(allowed: str, names: list[str]) -> None:
    town = Town()
    town.enter("romeo", "juliet")
    town.configure(allowpm=allowed, moderatedroom="1")
    town.enter("tybalt")
    for name in ("romeo", "juliet", "tybalt"):
        town.say(name, "<message to='verona@r.x/romeo'><body>b</body></message>")
        answer = town.taken("romeo" if name in names else name)
        assert [condition(each) for each in answer] == ["" if name in names else "forbidden"]


def test_private_messages() -> None:
    town = Town()
    town.enter("romeo", "juliet")
    town.play("""
romeo >> <message to='verona@r.x/juliet' type='chat' id='1'><body>b</body>
           <x xmlns='jabber:x:conference' jid='m@r.x'/></message>
juliet << <message from='verona@r.x/romeo' type='chat' id='1'><body>b</body>
           <x xmlns='jabber:x:conference' jid='m@r.x'/><x xmlns='muc#user'/></message>
juliet >> <message to='verona@r.x/romeo' type='error' id='1'><body>b</body><error type='cancel'>
           <policy-violation xmlns='stanzas'/></error></message>
romeo << <message from='verona@r.x/juliet' type='error' id='1'><error type='cancel'>
           <policy-violation xmlns='stanzas'/></error></message>
romeo >> <message to='verona@r.x/nobody' type='chat' id='2'/>
romeo << <message from='verona@r.x/nobody' type='error' id='2'><error type='cancel'>
           <item-not-found xmlns='stanzas'/></error></message>
romeo >> <message to='verona@r.x/juliet' type='groupchat' id='3'/>
romeo << <message from='verona@r.x/juliet' type='error' id='3'><error type='modify'><bad-request xmlns='stanzas'/>
           </error></message>
""")


def test_occupant_ids_are_one_per_user_and_room() -> None:
    town = Town()

    def id_of(name: str, room: str) -> str:
        town.say(name, f"<message to='{room}@r.x' type='groupchat'><body>b</body></message>")
        found = [each.find("{urn:xmpp:occupant-id:0}occupant-id") for each in town.taken(name)]
        town.inboxes.clear()
        assert len(found) == 1
        assert found[0] is not None
        return found[0].get("id", "")

    town.enter("romeo", "juliet", "juliet/2")
    town.enter("romeo", "juliet", room="mantua")
    ids = {
        (name, room): id_of(name, room)
        for name in ("romeo", "juliet", "juliet/2")
        for room in ("verona", "mantua")
        if (name, room) != ("juliet/2", "mantua")
    }
    assert ids["juliet", "verona"] == ids["juliet/2", "verona"]
    assert len(set(ids.values())) == 4
    before = ids["juliet", "verona"]
    town.say("juliet", "<presence to='verona@r.x/Julia'/>")
    town.inboxes.clear()
    assert id_of("juliet", "verona") == before
