"""Discovery, requests between occupants, self-ping, invitations, asking for voice."""

from dataclasses import replace

import pytest

from megaphone.stream.stanza import Stanza
from tests.unit.rooms.town import ROOM, SETTINGS, Town, condition, person

ERROR = "<error type='{}'><{} xmlns='stanzas'/></error>"
PING = "<ping xmlns='urn:xmpp:ping'/>"
INFO = "{http://jabber.org/protocol/disco#info}"
ITEMS = "{http://jabber.org/protocol/disco#items}"


def features(town: Town) -> set[str]:
    town.say("tybalt", f"<iq to='{ROOM}' type='get' id='1'><query xmlns='disco#info'/></iq>")
    (answer,) = town.taken("tybalt")
    return {each.get("var", "") for each in answer.iter(f"{INFO}feature")}


def test_what_a_room_says_of_itself() -> None:
    town = Town()
    town.enter("romeo")
    kind = {"muc_unsecured", "muc_open", "muc_unmoderated", "muc_public", "muc_temporary", "muc_semianonymous"}
    assert kind < features(town)
    town.configure(roomname="V", roomdesc="D", passwordprotectedroom="1", roomsecret="s", membersonly="1")
    town.configure(moderatedroom="1", publicroom="0", persistentroom="1", whois="anyone")
    other = {
        "muc_passwordprotected",
        "muc_membersonly",
        "muc_moderated",
        "muc_hidden",
        "muc_persistent",
        "muc_nonanonymous",
    }
    assert other < features(town)
    assert not kind & features(town)
    town.say("tybalt", f"<iq to='{ROOM}' type='get' id='1'><query xmlns='disco#info'/></iq>")
    (answer,) = town.taken("tybalt")
    identity = answer.find(f"{INFO}query/{INFO}identity")
    assert identity is not None
    assert identity.attrib == {"category": "conference", "type": "text", "name": "V"}
    fields = {each.get("var"): each.findtext("{jabber:x:data}value") for each in answer.iter("{jabber:x:data}field")}
    assert fields["FORM_TYPE"] == "http://jabber.org/protocol/muc#roominfo"
    assert fields["muc#roominfo_description"] == "D"
    assert fields["muc#roominfo_occupants"] == "1"
    town.play("""
tybalt >> <iq to='verona@r.x' type='get' id='2'><query xmlns='disco#info' node='x-roomuser-item'/></iq>
tybalt << <iq from='verona@r.x' type='result' id='2'><query xmlns='disco#info' node='x-roomuser-item'/></iq>
tybalt >> <iq to='verona@r.x' type='get' id='3'><query xmlns='disco#info' node='n'/></iq>
tybalt << <iq from='verona@r.x' type='error' id='3'><error type='cancel'><item-not-found xmlns='stanzas'/></error>
           </iq>
""")


def test_occupants_are_shown_to_occupants() -> None:
    town = Town(replace(SETTINGS, list_limit=2))
    town.enter("romeo", "juliet", "tybalt")
    town.play("""
mercutio >> <iq to='verona@r.x' type='get' id='1'><query xmlns='disco#items'/></iq>
mercutio << <iq from='verona@r.x' type='result' id='1'><query xmlns='disco#items'/></iq>
tybalt >> <iq to='verona@r.x' type='get' id='2'><query xmlns='disco#items'/></iq>
tybalt << <iq from='verona@r.x' type='result' id='2'><query xmlns='disco#items'>
            <item jid='verona@r.x/romeo'/><item jid='verona@r.x/juliet'/></query></iq>
""")


def test_self_ping_answers_what_it_asks() -> None:
    town = Town()
    town.enter("romeo", "juliet", "juliet/2")
    town.play(f"""
juliet >> <iq to='verona@r.x/juliet' type='get' id='1'>{PING}</iq>
juliet << <iq from='verona@r.x/juliet' type='result' id='1'/>
tybalt >> <iq to='verona@r.x/tybalt' type='get' id='2'>{PING}</iq>
tybalt << <iq from='verona@r.x/tybalt' type='error' id='2'>{ERROR.format("cancel", "not-acceptable")}</iq>
tybalt >> <iq to='verona@r.x/juliet' type='get' id='3'>{PING}</iq>
tybalt << <iq from='verona@r.x/juliet' type='error' id='3'>{ERROR.format("cancel", "not-acceptable")}</iq>
juliet >> <iq to='verona@r.x/julia' type='get' id='4'>{PING}</iq>
juliet << <iq from='verona@r.x/julia' type='error' id='4'>{ERROR.format("cancel", "item-not-found")}</iq>
juliet >> <iq to='mantua@r.x/juliet' type='get' id='5'>{PING}</iq>
juliet << <iq from='mantua@r.x/juliet' type='error' id='5'>{ERROR.format("cancel", "not-acceptable")}</iq>
juliet/3 >> <iq to='verona@r.x/juliet' type='get' id='6'>{PING}</iq>
juliet/3 << <iq from='verona@r.x/juliet' type='error' id='6'>{ERROR.format("cancel", "not-acceptable")}</iq>
juliet >> <iq to='verona@r.x' type='get' id='7'>{PING}</iq>
juliet << <iq from='verona@r.x' type='result' id='7'/>
juliet >> <iq to='verona@r.x/romeo' type='get' id='8'>{PING}</iq>
romeo << <iq from='verona@r.x/juliet' type='get' id='r1'>{PING}</iq>
romeo >> <iq to='verona@r.x/juliet' type='result' id='r1'/>
juliet << <iq from='verona@r.x/romeo' type='result' id='8'/>
""")


def test_requests_between_occupants() -> None:
    town = Town()
    town.enter("romeo", "juliet", "juliet/2")
    question = "<query xmlns='jabber:iq:version'/>"
    town.play(f"""
romeo >> <iq to='verona@r.x/juliet' type='get' id='1'>{question}</iq>
juliet/2 << <iq from='verona@r.x/romeo' type='get' id='r1'>{question}</iq>
# others cannot answer, nor the right one under another id
tybalt >> <iq to='verona@r.x/romeo' type='result' id='r1'><query xmlns='jabber:iq:version'><name>forged</name>
           </query></iq>
juliet >> <iq to='verona@r.x/romeo' type='result' id='r1'/>
juliet/2 >> <iq to='verona@r.x/romeo' type='result' id='1'/>
juliet/2 >> <iq to='verona@r.x/romeo' type='result' id='r1'><query xmlns='jabber:iq:version'><name>J</name></query>
           </iq>
romeo << <iq from='verona@r.x/juliet' type='result' id='1'><query xmlns='jabber:iq:version'><name>J</name></query>
           </iq>
juliet/2 >> <iq to='verona@r.x/romeo' type='result' id='r1'/>
# the one who is to answer leaves
romeo >> <iq to='verona@r.x/juliet' type='set' id='2'>{question}</iq>
juliet/2 << <iq from='verona@r.x/romeo' type='set' id='r2'>{question}</iq>
juliet/2 >> <presence to='verona@r.x/juliet' type='unavailable'/>
romeo << <iq from='verona@r.x/juliet' type='error' id='2'>{ERROR.format("wait", "recipient-unavailable")}</iq>
romeo << <presence from='verona@r.x/juliet'><x xmlns='muc#user'>
           <item affiliation='none' role='participant' jid='juliet@x/c'/></x></presence>
juliet/2 << <presence from='verona@r.x/juliet' type='unavailable'><x xmlns='muc#user'>
           <item affiliation='none' role='none' jid='juliet@x/2'/><status code='110'/></x></presence>
juliet << <presence from='verona@r.x/juliet'><x xmlns='muc#user'>
           <item affiliation='none' role='participant' jid='juliet@x/c'/><status code='110'/></x></presence>
romeo >> <iq to='verona@r.x/juliet' type='get'>{question}</iq>
romeo << <iq from='verona@r.x/juliet' type='error'>{ERROR.format("modify", "bad-request")}</iq>
""")


def test_a_vcard_is_asked_of_the_account() -> None:
    town = Town()
    town.enter("romeo", "juliet")
    town.say("romeo", "<iq to='verona@r.x/juliet' type='get' id='v'><vCard xmlns='vcard-temp'/></iq>")
    (request,) = town.inboxes.pop(person("juliet").bare)
    assert b"id='r1'" in request
    town.inboxes.clear()
    town.rooms.receive(Stanza.read(ANSWER), town.now)
    town.play(
        "romeo << <iq from='verona@r.x/juliet' type='result' id='v'><vCard xmlns='vcard-temp'><FN>J</FN></vCard></iq>"
    )


ANSWER = (
    b"<iq to='verona@r.x/romeo' from='juliet@x' type='result' id='r1'><vCard xmlns='vcard-temp'><FN>J</FN></vCard></iq>"
)


def test_requests_that_nobody_answers_are_bounded() -> None:
    town = Town(replace(SETTINGS, asked_limit=2))
    town.enter("romeo", "juliet")
    for number in range(3):
        town.say("romeo", f"<iq to='verona@r.x/juliet' type='get' id='{number}'>{PING}</iq>")
    (given_up,) = town.taken("romeo")
    assert (given_up.get("id"), condition(given_up)) == ("0", "remote-server-timeout")
    assert len(town.inboxes[person("juliet")]) == 3


def invite(*to: str, more: str = "") -> str:
    content = "".join(f"<invite to='{each}'><reason>masks</reason></invite>" for each in to)
    return f"<message to='verona@r.x' id='i'><x xmlns='muc#user'>{content}</x>{more}</message>"


def test_invitation_and_refusal() -> None:
    town = Town()
    town.enter("romeo", "juliet")
    town.configure(passwordprotectedroom="1", roomsecret="s")
    town.play(f"""
juliet >> {invite("tybalt@x/c", "mercutio@x/c")}
tybalt << <message from='verona@r.x' id='i'><x xmlns='muc#user'><invite from='verona@r.x/juliet'><reason>masks</reason>
           </invite><password>s</password></x>
            <x xmlns='jabber:x:conference' jid='verona@r.x' password='s' reason='masks'/></message>
mercutio << <message from='verona@r.x' id='i'><x xmlns='muc#user'>
            <invite from='verona@r.x/juliet'><reason>masks</reason>
           </invite><password>s</password></x>
            <x xmlns='jabber:x:conference' jid='verona@r.x' password='s' reason='masks'/></message>
tybalt >> <message to='verona@r.x' id='d'><x xmlns='muc#user'><decline to='juliet@x/c'><reason>no</reason>
           </decline></x></message>
juliet << <message from='verona@r.x' id='d'><x xmlns='muc#user'><decline from='tybalt@x'><reason>no</reason>
           </decline></x></message>
tybalt >> <message to='verona@r.x' id='d'><x xmlns='muc#user'><decline to='verona@r.x/juliet'/></x></message>
juliet << <message from='verona@r.x' id='d'><x xmlns='muc#user'><decline from='tybalt@x'/></x></message>
tybalt >> <message to='verona@r.x' id='d'><x xmlns='muc#user'><decline to='juliet@x'/></x></message>
juliet << <message from='verona@r.x' id='d'><x xmlns='muc#user'><decline from='tybalt@x'/></x></message>
# a room carries no mail to people who are not in it
tybalt >> <message to='verona@r.x' id='d'><x xmlns='muc#user'><decline to='prince@x'><reason>spam</reason>
           </decline></x></message>
tybalt << <message from='verona@r.x' type='error' id='d'>{ERROR.format("cancel", "item-not-found")}</message>
""")


@pytest.mark.parametrize(
    ("name", "text", "answer"),
    [
        ("tybalt", invite("prince@x"), "not-acceptable"),
        ("romeo", invite("x"), "not-acceptable"),
        ("romeo", invite("a b@x"), "jid-malformed"),
        ("romeo", invite(*(f"p{number}@x" for number in range(11))), "policy-violation"),
        ("romeo", invite("count@x"), "not-allowed"),
        ("romeo", "<message to='verona@r.x'><x xmlns='muc#user'><invite/></x></message>", "jid-malformed"),
        ("romeo", "<message to='verona@r.x'><x xmlns='muc#user'/></message>", "bad-request"),
        ("romeo", "<message to='verona@r.x'><x xmlns='muc#user'><status code='307'/></x></message>", "bad-request"),
        (
            "romeo",
            "<message to='verona@r.x' type='error'><x xmlns='muc#user'><invite to='prince@x'/></x></message>",
            None,
        ),
    ],
)
def test_hostile_invitations(name: str, text: str, answer: str | None) -> None:
    town = Town()
    town.enter("romeo")
    town.admin("romeo", "<item jid='count@x' affiliation='outcast'/>")
    town.inboxes.clear()
    town.say(name, text)
    if answer is not None:
        assert [condition(each) for each in town.taken(name)] == [answer]
    assert not any(jid.local in ("prince", "count") for jid in town.inboxes)


def test_who_has_invited_is_known_in_a_non_anonymous_room() -> None:
    town = Town()
    town.enter("romeo")
    town.configure(whois="anyone")
    town.say("romeo", invite("tybalt@x/c"))
    (message,) = town.inboxes[person("tybalt")]
    assert b"<invite from='romeo@x/c'>" in message


def test_invitation_into_a_members_only_room() -> None:
    town = Town()
    town.enter("romeo")
    town.configure(membersonly="1", allowinvites="0")
    town.admin("romeo", "<item jid='juliet@x' affiliation='member'/>")
    town.enter("juliet")
    town.say("juliet", invite("tybalt@x/c"))
    assert [condition(each) for each in town.taken("juliet")] == ["forbidden"]
    town.configure(allowinvites="1")
    town.say("juliet", invite("tybalt@x/c"))
    assert len(town.taken("tybalt")) == 1
    town.enter("tybalt")
    assert person("tybalt") in town.audience[ROOM]


def voice(**fields: str) -> str:
    fields = {"FORM_TYPE": "http://jabber.org/protocol/muc#request"} | {
        f"muc#{key}": value for key, value in fields.items()
    }
    content = "".join(f"<field var='{key}'><value>{value}</value></field>" for key, value in fields.items())
    return f"<message to='verona@r.x'><x xmlns='jabber:x:data' type='submit'>{content}</x></message>"


def test_asking_for_voice() -> None:
    town = Town()
    town.enter("romeo")
    town.configure(moderatedroom="1")
    town.enter("juliet", "tybalt")
    town.say("juliet", voice(role="participant"))
    (request,) = town.taken("romeo")
    assert town.taken("tybalt") == []
    fields = {each.get("var"): each.findtext("{jabber:x:data}value") for each in request.iter("{jabber:x:data}field")}
    assert (fields["muc#jid"], fields["muc#roomnick"], fields["muc#request_allow"]) == ("juliet@x/c", "juliet", "0")
    town.say("romeo", voice(role="participant", roomnick="juliet", jid="juliet@x/c", request_allow="false"))
    assert town.taken("juliet") == []
    town.say("romeo", voice(role="participant", roomnick="juliet", jid="juliet@x/c", request_allow="true"))
    (given,) = town.taken("juliet")
    item = given.find("{http://jabber.org/protocol/muc#user}x/{http://jabber.org/protocol/muc#user}item")
    assert item is not None
    assert item.get("role") == "participant"
    town.inboxes.clear()
    for name, text, answer in (
        ("juliet", voice(role="participant"), ["not-acceptable"]),
        ("tybalt", voice(role="moderator"), ["bad-request"]),
        ("tybalt", voice(), ["bad-request"]),
        ("tybalt", voice(role="participant").replace("submit", "cancel"), ["bad-request"]),
        ("prince", voice(role="participant"), ["not-acceptable"]),
        ("romeo", voice(roomnick="nobody", request_allow="1"), ["item-not-found"]),
        ("romeo", voice(roomnick="juliet", request_allow="1"), []),
        ("romeo", voice(roomnick="tybalt", request_allow="perhaps"), ["not-acceptable"]),
    ):
        town.say(name, text)
        assert [condition(each) for each in town.taken(name)] == answer
