"""Kick, ban, voice, members, admins and owners, as everybody sees them."""

from dataclasses import replace

import pytest

from tests.unit.rooms.town import ROOM, SETTINGS, Town, person

RESULT = "<iq from='verona@r.x' type='result' id='a'/>"


def request(items: str) -> str:
    return f"<iq to='verona@r.x' type='set' id='a'><query xmlns='muc#admin'>{items}</query></iq>"


def test_kick() -> None:
    town = Town()
    town.enter("romeo", "juliet", "tybalt")
    town.play(f"""
romeo >> {request("<item nick='tybalt' role='none'><reason>peace!</reason></item>")}
romeo << <presence from='verona@r.x/tybalt' type='unavailable'><x xmlns='muc#user'>
           <item affiliation='none' role='none' jid='tybalt@x/c'>
           <actor nick='romeo'/><reason>peace!</reason></item><status code='307'/></x></presence>
juliet << <presence from='verona@r.x/tybalt' type='unavailable'><x xmlns='muc#user'>
           <item affiliation='none' role='none'>
           <actor nick='romeo'/><reason>peace!</reason></item><status code='307'/></x></presence>
tybalt << <presence from='verona@r.x/tybalt' type='unavailable'><x xmlns='muc#user'>
           <item affiliation='none' role='none' jid='tybalt@x/c'>
           <actor nick='romeo'/><reason>peace!</reason></item><status code='110'/><status code='307'/></x>
           </presence>
romeo << {RESULT}
tybalt >> <message to='verona@r.x' type='groupchat' id='m'/>
tybalt << <message from='verona@r.x' type='error' id='m'><error type='cancel'><not-acceptable xmlns='stanzas'/>
           </error></message>
tybalt >> <presence to='verona@r.x/tybalt' type='unavailable'/>
""")


def test_ban() -> None:
    town = Town()
    town.enter("romeo", "juliet", "tybalt", "tybalt/2")
    town.play(f"""
romeo >> {request("<item jid='tybalt@x' affiliation='outcast'><reason>exile</reason></item>")}
romeo << <presence from='verona@r.x/tybalt' type='unavailable'><x xmlns='muc#user'>
           <item affiliation='outcast' role='none' jid='tybalt@x/2'>
           <actor nick='romeo'/><reason>exile</reason></item><status code='301'/></x></presence>
juliet << <presence from='verona@r.x/tybalt' type='unavailable'><x xmlns='muc#user'>
           <item affiliation='outcast' role='none'>
           <actor nick='romeo'/><reason>exile</reason></item><status code='301'/></x></presence>
tybalt << <presence from='verona@r.x/tybalt' type='unavailable'><x xmlns='muc#user'>
           <item affiliation='outcast' role='none' jid='tybalt@x/c'>
           <actor nick='romeo'/><reason>exile</reason></item><status code='110'/><status code='301'/></x></presence>
tybalt/2 << <presence from='verona@r.x/tybalt' type='unavailable'><x xmlns='muc#user'>
           <item affiliation='outcast' role='none' jid='tybalt@x/2'>
           <actor nick='romeo'/><reason>exile</reason></item><status code='110'/><status code='301'/></x></presence>
romeo << {RESULT}
tybalt >> <presence to='verona@r.x/tybalt'><x xmlns='muc'/></presence>
tybalt << <presence from='verona@r.x/tybalt' type='error'><error type='auth'><forbidden xmlns='stanzas'/></error>
           <x xmlns='muc'/></presence>
romeo >> <iq to='verona@r.x' type='get' id='l'><query xmlns='muc#admin'><item affiliation='outcast'/></query></iq>
romeo << <iq from='verona@r.x' type='result' id='l'><query xmlns='muc#admin'>
           <item affiliation='outcast' jid='tybalt@x'><reason>exile</reason></item></query></iq>
romeo >> {request("<item jid='tybalt@x' affiliation='none'/>")}
romeo << <message from='verona@r.x'><x xmlns='muc#user'><item affiliation='none' role='none' jid='tybalt@x'/></x>
           </message>
romeo << {RESULT}
""")
    town.enter("tybalt")
    assert person("tybalt") in town.audience[ROOM]


def test_a_whole_domain_is_banned() -> None:
    town = Town()
    town.enter("romeo")
    town.admin("romeo", "<item jid='juliet@x' affiliation='member'/>")
    town.enter("juliet", "tybalt", "mercutio")
    assert town.admin("romeo", "<item jid='x' affiliation='member'/>") == "not-acceptable"
    assert town.admin("romeo", "<item jid='x' affiliation='outcast'/>") == ""
    # what is said of somebody by name goes before
    assert set(town.audience[ROOM]) == {person("romeo"), person("juliet")}


def test_voice() -> None:
    town = Town()
    town.enter("romeo")
    town.configure(moderatedroom="1")
    town.enter("juliet")
    town.play(f"""
romeo >> {request("<item nick='juliet' role='participant'/>")}
romeo << <presence from='verona@r.x/juliet'><x xmlns='muc#user'>
           <item affiliation='none' role='participant' jid='juliet@x/c'><actor nick='romeo'/></item></x></presence>
juliet << <presence from='verona@r.x/juliet'><x xmlns='muc#user'>
           <item affiliation='none' role='participant' jid='juliet@x/c'><actor nick='romeo'/></item>
           <status code='110'/></x></presence>
romeo << {RESULT}
romeo >> <iq to='verona@r.x' type='get' id='l'><query xmlns='muc#admin'><item role='participant'/></query></iq>
romeo << <iq from='verona@r.x' type='result' id='l'><query xmlns='muc#admin'>
           <item affiliation='none' role='participant' jid='juliet@x/c' nick='juliet'/></query></iq>
juliet >> <iq to='verona@r.x' type='get' id='l'><query xmlns='muc#admin'><item role='participant'/></query></iq>
juliet << <iq from='verona@r.x' type='error' id='l'><error type='auth'><forbidden xmlns='stanzas'/></error></iq>
""")


def test_who_becomes_admin_sees_real_jids_and_who_ceases_to_be_does_not() -> None:
    town = Town()
    town.enter("romeo", "juliet", "tybalt")
    town.play(f"""
romeo >> {request("<item jid='juliet@x' affiliation='admin'/>")}
romeo << <presence from='verona@r.x/juliet'><x xmlns='muc#user'>
           <item affiliation='admin' role='moderator' jid='juliet@x/c'><actor nick='romeo'/></item></x></presence>
tybalt << <presence from='verona@r.x/juliet'><x xmlns='muc#user'><item affiliation='admin' role='moderator'>
           <actor nick='romeo'/></item></x></presence>
juliet << <presence from='verona@r.x/juliet'><x xmlns='muc#user'>
           <item affiliation='admin' role='moderator' jid='juliet@x/c'><actor nick='romeo'/></item>
           <status code='110'/></x></presence>
juliet << <presence from='verona@r.x/romeo'><x xmlns='muc#user'>
           <item affiliation='owner' role='moderator' jid='romeo@x/c'/></x></presence>
juliet << <presence from='verona@r.x/tybalt'><x xmlns='muc#user'>
           <item affiliation='none' role='participant' jid='tybalt@x/c'/></x></presence>
romeo << {RESULT}
romeo >> {request("<item jid='juliet@x' affiliation='member'/>")}
romeo << <presence from='verona@r.x/juliet'><x xmlns='muc#user'>
           <item affiliation='member' role='participant' jid='juliet@x/c'><actor nick='romeo'/></item></x>
           </presence>
tybalt << <presence from='verona@r.x/juliet'><x xmlns='muc#user'><item affiliation='member' role='participant'>
           <actor nick='romeo'/></item></x></presence>
juliet << <presence from='verona@r.x/juliet'><x xmlns='muc#user'>
           <item affiliation='member' role='participant' jid='juliet@x/c'><actor nick='romeo'/></item>
           <status code='110'/></x></presence>
romeo << {RESULT}
tybalt >> <presence to='verona@r.x/tybalt'><show>dnd</show></presence>
romeo << <presence from='verona@r.x/tybalt'><show>dnd</show><x xmlns='muc#user'>
           <item affiliation='none' role='participant' jid='tybalt@x/c'/></x></presence>
juliet << <presence from='verona@r.x/tybalt'><show>dnd</show><x xmlns='muc#user'>
           <item affiliation='none' role='participant'/></x></presence>
tybalt << <presence from='verona@r.x/tybalt'><show>dnd</show><x xmlns='muc#user'>
           <item affiliation='none' role='participant' jid='tybalt@x/c'/>
           <status code='110'/></x></presence>
""")


def test_no_longer_a_member_of_a_members_only_room() -> None:
    town = Town()
    town.enter("romeo")
    town.admin("romeo", "<item jid='juliet@x' affiliation='member'/>")
    town.configure(membersonly="1")
    town.enter("juliet")
    town.play(f"""
romeo >> {request("<item jid='juliet@x' affiliation='none'/>")}
romeo << <presence from='verona@r.x/juliet' type='unavailable'><x xmlns='muc#user'>
           <item affiliation='none' role='none' jid='juliet@x/c'>
           <actor nick='romeo'/></item><status code='321'/></x></presence>
juliet << <presence from='verona@r.x/juliet' type='unavailable'><x xmlns='muc#user'>
           <item affiliation='none' role='none' jid='juliet@x/c'>
           <actor nick='romeo'/></item><status code='110'/><status code='321'/></x></presence>
romeo << {RESULT}
""")


def test_the_last_owner_stays() -> None:
    town = Town()
    town.enter("romeo")
    for affiliation in ("admin", "member", "none", "outcast"):
        assert town.admin("romeo", f"<item jid='romeo@x' affiliation='{affiliation}'/>") == "conflict"
    # all of a request or nothing, and counted as a whole
    two = "<item jid='romeo@x' affiliation='none'/><item jid='juliet@x' affiliation='owner'/>"
    assert town.admin("romeo", two) == ""
    assert town.admin("romeo", two) == "forbidden"


def test_a_request_is_done_as_a_whole_or_not_at_all() -> None:
    town = Town()
    town.enter("romeo")
    town.admin("romeo", "<item jid='juliet@x' affiliation='admin'/>")
    town.enter("juliet", "tybalt")
    assert (
        town.admin("juliet", "<item nick='tybalt' role='none'/><item jid='romeo@x' affiliation='none'/>")
        == "not-allowed"
    )
    assert person("tybalt") in town.audience[ROOM]
    assert town.admin("juliet", "<item nick='tybalt' role='none'/><item nick='tybalt' role='visitor'/>") == ""
    assert person("tybalt") not in town.audience[ROOM]


@pytest.mark.parametrize(
    ("items", "answer"),
    [
        ("", "bad-request"),
        ("<item/>", "bad-request"),
        ("<item nick='tybalt' role='none' affiliation='none'/>", "bad-request"),
        ("<item nick='tybalt' role='king'/>", "bad-request"),
        ("<item jid='tybalt@x' affiliation='king'/>", "bad-request"),
        ("<item nick='nobody' role='none'/>", "item-not-found"),
        ("<item role='none'/>", "item-not-found"),
        ("<item nick='nobody' affiliation='none'/>", "item-not-found"),
        ("<item jid='a b@x' affiliation='member'/>", "jid-malformed"),
        ("<item jid='a@x' affiliation='member'/><item jid='A@x/b' affiliation='outcast'/>", "bad-request"),
        ("<item jid='a@x' affiliation='member'/>" * 501, "policy-violation"),
        ("<item jid='a@x' affiliation='member'/><item jid='b@x' affiliation='member'/>", "resource-constraint"),
        ("<item nick='tybalt' affiliation='member'/>", ""),
    ],
)
def test_hostile_requests(items: str, answer: str) -> None:
    town = Town(replace(SETTINGS, affiliations_limit=2))
    town.enter("romeo", "tybalt")
    assert town.admin("romeo", items) == answer


def test_a_kick_by_who_is_not_here() -> None:
    town = Town()
    town.enter("romeo", "tybalt")
    town.say("romeo", "<presence to='verona@r.x' type='unavailable'/>")
    town.inboxes.clear()
    assert town.admin("romeo", "<item nick='tybalt' role='none'/>") == "forbidden"
    assert town.admin("romeo", "<item nick='tybalt' affiliation='outcast'/>") == ""
    assert len(town.rooms) == 0  # the last one has gone


def test_reasons_are_cut() -> None:
    town = Town()
    town.enter("romeo")
    assert town.admin("romeo", f"<item jid='a@x' affiliation='outcast'><reason>{'&amp;' * 501}</reason></item>") == ""
    room = town.rooms.room(ROOM)
    assert room is not None
    assert [each.reason for each in room.affiliations if each.reason] == ["&" * 500]


def test_who_moderates_goes_on_doing_so_as_a_member_and_not_as_none() -> None:
    town = Town()
    town.enter("romeo", "juliet")
    room = town.rooms.room(ROOM)
    assert room is not None
    juliet = room.occupants.by_nick["juliet"]
    town.admin("romeo", "<item nick='juliet' role='moderator'/>")
    for affiliation, role in (("member", "moderator"), ("none", "participant"), ("admin", "moderator")):
        town.admin("romeo", f"<item jid='juliet@x' affiliation='{affiliation}'/>")
        assert juliet.role == role
        assert town.audience[ROOM][person("juliet")] is (role == "moderator")
