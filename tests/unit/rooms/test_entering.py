"""Entering and leaving, as everybody in the room sees it."""

from dataclasses import replace

import pytest

from megaphone.rooms.leaving import GONE
from tests.unit.rooms.town import ROOM, SETTINGS, Town, condition, person


def test_new_room_is_locked_until_its_creator_opens_it() -> None:
    Town().play("""
romeo >> <presence to='verona@r.x/Romeo' id='p1'><x xmlns='muc'/><show>away</show></presence>
romeo << <presence from='verona@r.x/Romeo' id='p1'><show>away</show><x xmlns='muc#user'>
           <item affiliation='owner' role='moderator' jid='romeo@x/c'/><status code='110'/><status code='201'/></x>
           </presence>
romeo << <message from='verona@r.x' type='groupchat'><subject/></message>
juliet >> <presence to='verona@r.x/Juliet'><x xmlns='muc'/></presence>
juliet << <presence from='verona@r.x/Juliet' type='error'><error type='cancel'>
           <item-not-found xmlns='stanzas'/></error><x xmlns='muc'/></presence>
romeo >> <iq to='verona@r.x' type='set' id='o'><query xmlns='muc#owner'><x xmlns='jabber:x:data' type='submit'/>
           </query></iq>
romeo << <iq from='verona@r.x' type='result' id='o'/>
juliet >> <presence to='verona@r.x/Juliet'><x xmlns='muc'/></presence>
juliet << <presence from='verona@r.x/Romeo'><show>away</show><x xmlns='muc#user'>
           <item affiliation='owner' role='moderator'/></x></presence>
juliet << <presence from='verona@r.x/Juliet'><x xmlns='muc#user'>
           <item affiliation='none' role='participant' jid='juliet@x/c'/>
           <status code='110'/></x></presence>
juliet << <message from='verona@r.x' type='groupchat'><subject/></message>
romeo << <presence from='verona@r.x/Juliet'><x xmlns='muc#user'>
           <item affiliation='none' role='participant' jid='juliet@x/c'/></x></presence>
juliet >> <message to='verona@r.x' type='groupchat' id='m1'><body>hi</body></message>
romeo << <message from='verona@r.x/Juliet' type='groupchat' id='m1'><body>hi</body>
           <stanza-id xmlns='urn:xmpp:sid:0' by='verona@r.x' id='1700000000000000'/></message>
juliet << <message from='verona@r.x/Juliet' type='groupchat' id='m1'><body>hi</body>
           <stanza-id xmlns='urn:xmpp:sid:0' by='verona@r.x' id='1700000000000000'/></message>
juliet >> <presence to='verona@r.x/Juliet' type='unavailable'><status>bye</status></presence>
romeo << <presence from='verona@r.x/Juliet' type='unavailable'><status>bye</status><x xmlns='muc#user'>
           <item affiliation='none' role='none' jid='juliet@x/c'/></x></presence>
juliet << <presence from='verona@r.x/Juliet' type='unavailable'><status>bye</status><x xmlns='muc#user'>
           <item affiliation='none' role='none' jid='juliet@x/c'/><status code='110'/></x></presence>
""")


def refused(town: Town, name: str, text: str) -> str:
    """The condition that refuses a stanza."""
    town.say(name, text)
    (answer,) = town.taken(name)
    assert answer.get("type") == "error"
    error = answer.find("{jabber:client}error")
    assert error is not None
    return f"{condition(answer)} {error.get('type')}"


JOIN = "<presence to='verona@r.x/{}'><x xmlns='muc'/></presence>"


@pytest.mark.parametrize(
    ("settings", "fields", "text", "answer"),
    [
        ({}, {}, JOIN.format("romeo"), "conflict cancel"),
        ({}, {"membersonly": "1"}, JOIN.format("T"), "registration-required auth"),
        ({}, {"passwordprotectedroom": "1", "roomsecret": "s"}, JOIN.format("T"), "not-authorized auth"),
        (
            {},
            {"passwordprotectedroom": "1", "roomsecret": "s"},
            "<presence to='verona@r.x/T'><x xmlns='muc'><password>t</password></x></presence>",
            "not-authorized auth",
        ),
        ({}, {"maxusers": "1"}, JOIN.format("T"), "service-unavailable wait"),
        ({"occupants_limit": 1}, {}, JOIN.format("T"), "service-unavailable wait"),
        ({"nick_limit_bytes": 6}, {}, JOIN.format("ééé"), ""),
        ({"nick_limit_bytes": 6}, {}, JOIN.format("éééé"), "not-acceptable modify"),
        ({}, {}, JOIN.format(" T"), "not-acceptable modify"),
        ({}, {}, JOIN.format("T").replace("/T", ""), "jid-malformed modify"),
        ({}, {}, "<presence to='verona@r.x/T'/>", "not-acceptable cancel"),
        ({"presence_limit_bytes": 200}, {}, JOIN.format("T"), ""),
        (
            {"presence_limit_bytes": 200},
            {},
            f"<presence to='verona@r.x/T'><x xmlns='muc'/><status>{'.' * 200}</status></presence>",
            "policy-violation modify",
        ),
        ({}, {}, "<presence to='verona@r.x/T' type='subscribe'/>", "bad-request modify"),
    ],
)
def test_who_may_not_enter(settings: dict[str, int], fields: dict[str, str], text: str, answer: str) -> None:
    town = Town(replace(SETTINGS, **settings))  # type: ignore[arg-type]
    town.enter("romeo")
    if fields:
        town.configure(**fields)
    if answer:
        assert refused(town, "tybalt", text) == answer
        assert len(town.rooms.room(ROOM).occupants) == 1  # type: ignore[union-attr]
    else:
        town.say("tybalt", text)
        assert len(town.rooms.room(ROOM).occupants) == 2  # type: ignore[union-attr]


def test_the_banned_and_the_members() -> None:
    town = Town()
    town.enter("romeo")
    town.configure(membersonly="1")
    items = "<item affiliation='outcast' jid='tybalt@x'/><item affiliation='member' jid='juliet@x'/>"
    assert town.admin("romeo", items) == ""
    assert refused(town, "tybalt", JOIN.format("T")) == "forbidden auth"
    town.enter("juliet")
    assert town.audience[ROOM] == {person("romeo"): True, person("juliet"): False}
    assert town.admin("romeo", "<item affiliation='outcast' jid='x'/>") == ""
    assert refused(town, "mercutio", JOIN.format("M")) == "forbidden auth"


def test_password_and_full_room_for_owners() -> None:
    town = Town()
    town.enter("romeo")
    town.configure(passwordprotectedroom="1", roomsecret="&lt;s&gt;", maxusers="1")
    town.say("romeo/2", "<presence to='verona@r.x/r2'><x xmlns='muc'><password>&lt;s></password></x></presence>")
    assert person("romeo/2") in town.audience[ROOM]


def test_non_anonymous_room_says_so() -> None:
    town = Town()
    town.enter("romeo")
    town.configure(whois="anyone")
    town.play("""
juliet >> <presence to='verona@r.x/Juliet'><x xmlns='muc'/></presence>
juliet << <presence from='verona@r.x/romeo'><x xmlns='muc#user'>
           <item affiliation='owner' role='moderator' jid='romeo@x/c'/></x></presence>
juliet << <presence from='verona@r.x/Juliet'><x xmlns='muc#user'>
           <item affiliation='none' role='participant' jid='juliet@x/c'/>
           <status code='110'/><status code='100'/></x></presence>
juliet << <message from='verona@r.x' type='groupchat'><subject/></message>
romeo << <presence from='verona@r.x/Juliet'><x xmlns='muc#user'>
           <item affiliation='none' role='participant' jid='juliet@x/c'/></x></presence>
""")


def test_groupchat_1_0_where_it_is_allowed() -> None:
    town = Town(replace(SETTINGS, join_without_x=True))
    town.say("romeo", "<presence to='verona@r.x/Romeo'/>")
    town.enter("juliet")
    assert set(town.audience[ROOM]) == {person("romeo"), person("juliet")}


def test_two_clients_of_one_user_share_a_nick() -> None:
    town = Town()
    town.enter("romeo", "juliet")
    town.play("""
juliet/2 >> <presence to='verona@r.x/juliet'><x xmlns='muc'/><show>away</show></presence>
juliet << <presence from='verona@r.x/juliet'><show>away</show><x xmlns='muc#user'>
           <item affiliation='none' role='participant' jid='juliet@x/c'/><status code='110'/></x></presence>
juliet/2 << <presence from='verona@r.x/romeo'><x xmlns='muc#user'><item affiliation='owner' role='moderator'/></x>
           </presence>
juliet/2 << <presence from='verona@r.x/juliet'><show>away</show><x xmlns='muc#user'>
           <item affiliation='none' role='participant' jid='juliet@x/2'/><status code='110'/></x></presence>
juliet/2 << <message from='verona@r.x' type='groupchat'><subject/></message>
romeo << <presence from='verona@r.x/juliet'><show>away</show><x xmlns='muc#user'>
           <item affiliation='none' role='participant' jid='juliet@x/2'/></x></presence>
romeo >> <message to='verona@r.x/juliet' type='chat'><body>psst</body></message>
juliet << <message from='verona@r.x/romeo' type='chat'><body>psst</body><x xmlns='muc#user'/></message>
juliet/2 << <message from='verona@r.x/romeo' type='chat'><body>psst</body><x xmlns='muc#user'/></message>
# the client that spoke last leaves: the other's presence is shown again, the occupant stays
juliet/2 >> <presence to='verona@r.x/juliet' type='unavailable'/>
juliet/2 << <presence from='verona@r.x/juliet' type='unavailable'><x xmlns='muc#user'>
           <item affiliation='none' role='none' jid='juliet@x/2'/><status code='110'/></x></presence>
romeo << <presence from='verona@r.x/juliet'><x xmlns='muc#user'>
           <item affiliation='none' role='participant' jid='juliet@x/c'/></x></presence>
juliet << <presence from='verona@r.x/juliet'><x xmlns='muc#user'>
           <item affiliation='none' role='participant' jid='juliet@x/c'/><status code='110'/></x></presence>
""")
    town = Town(replace(SETTINGS, sessions_per_occupant_limit=1))
    town.enter("romeo", "juliet")
    assert refused(town, "juliet/2", JOIN.format("juliet")) == "resource-constraint wait"


def test_another_nick() -> None:
    town = Town()
    town.enter("romeo", "juliet")
    assert refused(town, "juliet", "<presence to='verona@r.x/romeo'/>") == "conflict cancel"
    town.play("""
juliet >> <presence to='verona@r.x/Julia'/>
romeo << <presence from='verona@r.x/juliet' type='unavailable'><x xmlns='muc#user'>
           <item affiliation='none' role='participant' jid='juliet@x/c' nick='Julia'/><status code='303'/></x>
           </presence>
romeo << <presence from='verona@r.x/Julia'><x xmlns='muc#user'>
           <item affiliation='none' role='participant' jid='juliet@x/c'/></x></presence>
juliet << <presence from='verona@r.x/juliet' type='unavailable'><x xmlns='muc#user'>
           <item affiliation='none' role='participant' jid='juliet@x/c' nick='Julia'/><status code='110'/>
           <status code='303'/></x></presence>
juliet << <presence from='verona@r.x/Julia'><x xmlns='muc#user'>
           <item affiliation='none' role='participant' jid='juliet@x/c'/>
           <status code='110'/></x></presence>
""")


def test_one_of_two_clients_takes_another_nick_and_comes_back() -> None:
    town = Town()
    town.enter("romeo", "juliet", "juliet/2")
    town.play("""
juliet/2 >> <presence to='verona@r.x/Julia'/>
juliet/2 << <presence from='verona@r.x/juliet' type='unavailable'><x xmlns='muc#user'>
           <item affiliation='none' role='participant' jid='juliet@x/2' nick='Julia'/><status code='110'/>
           <status code='303'/></x></presence>
romeo << <presence from='verona@r.x/juliet'><x xmlns='muc#user'>
           <item affiliation='none' role='participant' jid='juliet@x/c'/></x></presence>
juliet/2 << <presence from='verona@r.x/juliet'><x xmlns='muc#user'><item affiliation='none' role='participant'/>
           </x></presence>
juliet << <presence from='verona@r.x/juliet'><x xmlns='muc#user'>
           <item affiliation='none' role='participant' jid='juliet@x/c'/>
           <status code='110'/></x></presence>
romeo << <presence from='verona@r.x/Julia'><x xmlns='muc#user'>
           <item affiliation='none' role='participant' jid='juliet@x/2'/></x></presence>
juliet << <presence from='verona@r.x/Julia'><x xmlns='muc#user'><item affiliation='none' role='participant'/></x>
           </presence>
juliet/2 << <presence from='verona@r.x/Julia'><x xmlns='muc#user'>
           <item affiliation='none' role='participant' jid='juliet@x/2'/>
           <status code='110'/></x></presence>
juliet/2 >> <presence to='verona@r.x/juliet'/>
romeo << <presence from='verona@r.x/Julia' type='unavailable'><x xmlns='muc#user'>
           <item affiliation='none' role='none' jid='juliet@x/2'/></x></presence>
juliet << <presence from='verona@r.x/Julia' type='unavailable'><x xmlns='muc#user'>
           <item affiliation='none' role='none'/></x></presence>
juliet/2 << <presence from='verona@r.x/Julia' type='unavailable'><x xmlns='muc#user'>
           <item affiliation='none' role='participant' jid='juliet@x/2' nick='juliet'/><status code='110'/>
           <status code='303'/></x></presence>
romeo << <presence from='verona@r.x/juliet'><x xmlns='muc#user'>
           <item affiliation='none' role='participant' jid='juliet@x/2'/></x></presence>
juliet << <presence from='verona@r.x/juliet'><x xmlns='muc#user'>
           <item affiliation='none' role='participant' jid='juliet@x/c'/>
           <status code='110'/></x></presence>
juliet/2 << <presence from='verona@r.x/juliet'><x xmlns='muc#user'>
           <item affiliation='none' role='participant' jid='juliet@x/2'/>
           <status code='110'/></x></presence>
""")


def test_a_client_that_has_lost_track_enters_again() -> None:
    town = Town()
    town.enter("romeo", "juliet")
    town.play("""
juliet >> <presence to='verona@r.x/juliet' id='again'><x xmlns='muc'/></presence>
romeo << <presence from='verona@r.x/juliet'><x xmlns='muc#user'>
           <item affiliation='none' role='participant' jid='juliet@x/c'/></x></presence>
juliet << <presence from='verona@r.x/romeo'><x xmlns='muc#user'><item affiliation='owner' role='moderator'/></x>
           </presence>
juliet << <presence from='verona@r.x/juliet' id='again'><x xmlns='muc#user'>
           <item affiliation='none' role='participant' jid='juliet@x/c'/>
           <status code='110'/></x></presence>
juliet << <message from='verona@r.x' type='groupchat'><subject/></message>
""")


def test_what_a_presence_may_not_bring_along() -> None:
    town = Town()
    town.enter("romeo", "juliet")
    town.play("""
juliet >> <presence to='verona@r.x/juliet' id='i'><x xmlns='muc#user'><item affiliation='owner' role='moderator'/>
           </x>
           <occupant-id xmlns='urn:xmpp:occupant-id:0' id='forged'/>
           <delay xmlns='urn:xmpp:delay' stamp='2002-10-13T23:58:37Z'/>
           <x xmlns='vcard-temp:x:update'/><status>s</status></presence>
romeo << <presence from='verona@r.x/juliet'><x xmlns='vcard-temp:x:update'/><status>s</status>
           <x xmlns='muc#user'><item affiliation='none' role='participant' jid='juliet@x/c'/></x></presence>
juliet << <presence from='verona@r.x/juliet'><x xmlns='vcard-temp:x:update'/><status>s</status>
           <x xmlns='muc#user'><item affiliation='none' role='participant' jid='juliet@x/c'/><status code='110'/>
           </x></presence>
""")


def test_presence_of_some_roles_only() -> None:
    town = Town()
    town.enter("romeo")
    town.configure(presencebroadcast=["moderator"])
    town.play("""
juliet >> <presence to='verona@r.x/Juliet'><x xmlns='muc'/></presence>
juliet << <presence from='verona@r.x/romeo'><x xmlns='muc#user'><item affiliation='owner' role='moderator'/></x>
           </presence>
juliet << <presence from='verona@r.x/Juliet'><x xmlns='muc#user'>
           <item affiliation='none' role='participant' jid='juliet@x/c'/>
           <status code='110'/></x></presence>
juliet << <message from='verona@r.x' type='groupchat'><subject/></message>
romeo >> <iq to='verona@r.x' type='set' id='a'><query xmlns='muc#admin'><item nick='Juliet' role='moderator'/>
           </query></iq>
romeo << <presence from='verona@r.x/Juliet'><x xmlns='muc#user'>
           <item affiliation='none' role='moderator' jid='juliet@x/c'>
           <actor nick='romeo'/></item></x></presence>
juliet << <presence from='verona@r.x/Juliet'><x xmlns='muc#user'>
           <item affiliation='none' role='moderator' jid='juliet@x/c'>
           <actor nick='romeo'/></item><status code='110'/></x></presence>
juliet << <presence from='verona@r.x/romeo'><x xmlns='muc#user'>
           <item affiliation='owner' role='moderator' jid='romeo@x/c'/></x></presence>
romeo << <iq from='verona@r.x' type='result' id='a'/>
romeo >> <iq to='verona@r.x' type='set' id='b'><query xmlns='muc#admin'><item nick='Juliet' role='participant'/>
           </query></iq>
romeo << <presence from='verona@r.x/Juliet' type='unavailable'><x xmlns='muc#user'>
           <item affiliation='none' role='none' jid='juliet@x/c'/></x></presence>
juliet << <presence from='verona@r.x/Juliet'><x xmlns='muc#user'>
           <item affiliation='none' role='participant' jid='juliet@x/c'>
           <actor nick='romeo'/></item><status code='110'/></x></presence>
romeo << <iq from='verona@r.x' type='result' id='b'/>
""")


def test_errors_show_ghosts() -> None:
    town = Town()
    town.enter("romeo", "juliet")
    # an error of another kind is none of the room's business
    town.play("""
juliet >> <message to='verona@r.x' type='error'><error type='cancel'><not-acceptable xmlns='stanzas'/></error>
           </message>
juliet >> <presence to='verona@r.x/romeo' type='error'><error type='cancel'><gone xmlns='stanzas'/></error>
           </presence>
romeo << <presence from='verona@r.x/juliet' type='unavailable'><x xmlns='muc#user'>
           <item affiliation='none' role='none' jid='juliet@x/c'/><status code='333'/></x></presence>
juliet << <presence from='verona@r.x/juliet' type='unavailable'><x xmlns='muc#user'>
           <item affiliation='none' role='none' jid='juliet@x/c'/><status code='110'/><status code='333'/></x>
           </presence>
juliet >> <presence to='verona@r.x/romeo' type='error'/>
""")


@pytest.mark.parametrize("name", sorted(GONE))
def test_every_error_that_shows_a_ghost(name: str) -> None:
    town = Town()
    town.enter("romeo", "juliet")
    error = f"<error type='cancel'><{name} xmlns='stanzas'/></error>"
    town.say("juliet", f"<message to='verona@r.x/romeo' type='error'>{error}</message>")
    assert town.audience[ROOM] == {person("romeo"): True}


def test_a_room_ends_with_its_last_occupant() -> None:
    town = Town()
    town.enter("romeo")
    town.say("romeo", "<presence to='verona@r.x/romeo' type='unavailable'/>")
    assert len(town.rooms) == 0
    assert town.rooms.items() == []
    town.say("romeo", JOIN.format("romeo"))
    assert town.rooms.room(ROOM).locked  # type: ignore[union-attr]
