"""Every change of every role and affiliation by everybody: done, or refused with the right error.

What may be done is written here as XEP-0045 says it in sentences, apart from the tables of the code, and every line is
played in a room.
"""

from itertools import product

import pytest

from megaphone.rooms.ports import Affiliation, Role
from tests.unit.rooms.town import ROOM, Town, person

OWNER, ADMIN, MEMBER, NONE, OUTCAST = Affiliation
MODERATOR, PARTICIPANT, VISITOR, GONE = Role
ABOVE = [OUTCAST, NONE, MEMBER, ADMIN, OWNER].index
PRESENT = [
    (affiliation, role)
    for affiliation, role in product((OWNER, ADMIN, MEMBER, NONE), (MODERATOR, PARTICIPANT, VISITOR))
    if affiliation not in (OWNER, ADMIN) or role is MODERATOR  # owners and admins are moderators in any case
]


def role_change(actor: tuple[Affiliation, Role], target: tuple[Affiliation, Role], role: Role) -> str:
    """The sentences of sections 8 and 9; "" for what is allowed."""
    affiliation, own_role = actor
    target_affiliation, target_role = target
    if own_role is not MODERATOR:
        return "forbidden"
    if role is target_role:
        return ""
    privileged = affiliation in (OWNER, ADMIN)
    if MODERATOR in (role, target_role) and not privileged:
        return "not-allowed"  # 9.6, 9.7: only admins and owners make moderators, or unmake them
    if role is GONE:
        # 8.2: nobody with a higher affiliation than one's own
        return "not-allowed" if ABOVE(target_affiliation) > ABOVE(affiliation) else ""
    if target_role is MODERATOR:
        return "not-allowed" if target_affiliation in (OWNER, ADMIN) else ""  # 9.7
    if (target_role, role) == (PARTICIPANT, VISITOR):
        # 8.4: nobody at or above one's own affiliation, no admins and owners at all
        return "not-allowed" if ABOVE(target_affiliation) >= ABOVE(affiliation) else ""
    return ""


def affiliation_change(actor: Affiliation, target: Affiliation, affiliation: Affiliation) -> str:
    """The sentences of sections 9 and 10."""
    if actor not in (OWNER, ADMIN):
        return "forbidden"
    if actor is ADMIN and {target, affiliation} & {OWNER, ADMIN}:
        return "not-allowed"
    return ""


def town_with(*people: tuple[str, Affiliation, Role]) -> Town:
    """A room, made by an owner who is not there any more, with people of these affiliations and roles."""
    town = Town()
    town.enter("prince")
    for name, affiliation, role in people:
        assert town.admin("prince", f"<item jid='{name}@x' affiliation='{affiliation}'/>") == ""
        town.enter(name)
        if affiliation not in (OWNER, ADMIN):
            # a moderator's voice is revoked in two steps: as a participant first
            assert town.admin("prince", f"<item nick='{name}' role='participant'/>") == ""
            assert town.admin("prince", f"<item nick='{name}' role='{role}'/>") == ""
    room = town.rooms.room(ROOM)
    assert room is not None
    for name, affiliation, role in people:
        occupant = room.occupants.by_nick[name]
        assert (room.affiliations.of(occupant.bare), occupant.role) == (affiliation, role)
    return town


@pytest.mark.parametrize("actor", PRESENT)
def test_roles(actor: tuple[Affiliation, Role]) -> None:
    for target, role in product(PRESENT, (MODERATOR, PARTICIPANT, VISITOR, GONE)):
        town = town_with(("romeo", *actor), ("tybalt", *target))
        expected = role_change(actor, target, role)
        assert town.admin("romeo", f"<item nick='tybalt' role='{role}'/>") == expected, (target, role)
        room = town.rooms.room(ROOM)
        assert room is not None
        there = room.occupants.by_nick.get("tybalt")
        assert (GONE if there is None else there.role) is (target[1] if expected else role)
        assert (person("tybalt") in town.audience[ROOM]) is (there is not None)
        if there is not None:
            assert town.audience[ROOM][person("tybalt")] is (there.role is MODERATOR)


@pytest.mark.parametrize("present", [True, False])
@pytest.mark.parametrize("actor", [OWNER, ADMIN, MEMBER, NONE])
def test_affiliations(actor: Affiliation, present: bool) -> None:
    for target, affiliation in product(Affiliation, Affiliation):
        town = Town()
        town.enter("prince")
        assert town.admin("prince", f"<item jid='romeo@x' affiliation='{actor}'/>") == ""
        town.enter("romeo")
        assert town.admin("prince", f"<item jid='tybalt@x' affiliation='{target}'/>") == ""
        if present and target is not OUTCAST:
            town.enter("tybalt")
        expected = affiliation_change(actor, target, affiliation)
        assert town.admin("romeo", f"<item jid='tybalt@x' affiliation='{affiliation}'/>") == expected
        room = town.rooms.room(ROOM)
        assert room is not None
        assert room.affiliations.of(person("tybalt")) is (target if expected else affiliation)
        there = room.occupants.by_nick.get("tybalt")
        now = target if expected else affiliation
        assert (there is not None) is (present and target is not OUTCAST and now is not OUTCAST)
        if there is not None:
            assert there.role is (MODERATOR if now in (OWNER, ADMIN) else PARTICIPANT)
            assert town.audience[ROOM][person("tybalt")] is (there.role is MODERATOR)


@pytest.mark.parametrize("actor", [*Affiliation, "outsider"])
def test_lists(actor: Affiliation | str) -> None:
    allowed = {
        OWNER: {OWNER, ADMIN, MEMBER, OUTCAST},
        ADMIN: {ADMIN, MEMBER, OUTCAST},
        MEMBER: set(),
    }
    town = Town()
    town.enter("prince")
    if actor != "outsider":
        town.admin("prince", f"<item jid='romeo@x' affiliation='{actor}'/>")
    for affiliation in (OWNER, ADMIN, MEMBER, OUTCAST):
        query = f"<query xmlns='muc#admin'><item affiliation='{affiliation}'/></query>"
        town.say("romeo", f"<iq to='{ROOM}' type='get' id='l'>{query}</iq>")
        (answer,) = town.taken("romeo")
        readable = affiliation in allowed.get(actor, set())  # type: ignore[call-overload]
        assert (answer.get("type") == "result") is readable
        if readable:
            jids = [each.get("jid") for each in answer[0]]
            assert jids == ["prince@x"] * (affiliation is OWNER) + ["romeo@x"] * (affiliation is actor)
    town.configure("prince", membersonly="1", whois="anyone")
    town.say(
        "romeo", f"<iq to='{ROOM}' type='get' id='l'><query xmlns='muc#admin'><item affiliation='member'/></query></iq>"
    )
    (answer,) = town.taken("romeo")
    assert (answer.get("type") == "result") is (actor in (OWNER, ADMIN, MEMBER))
