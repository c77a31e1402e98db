"""Who may do what in a room: XEP-0045's tables of roles and affiliations (sections 5.1 and 5.2) as tables.

A change that no table allows is refused: `forbidden` to those who may change nothing of the kind, `not-allowed` to
those who may, but not this (sections 8.2 to 10.6).
"""

from __future__ import annotations

from megaphone.errors import RoomError
from megaphone.rooms.ports import Affiliation, AllowPM, Role

OWNER, ADMIN, MEMBER, NONE, OUTCAST = Affiliation
MODERATOR, PARTICIPANT, VISITOR, GONE = Role

# Section 5.1.2: the role that comes with an affiliation, in a room that is not moderated and in one that is.
ROLE_ON_ENTERING = {
    OWNER: (MODERATOR, MODERATOR),
    ADMIN: (MODERATOR, MODERATOR),
    MEMBER: (PARTICIPANT, PARTICIPANT),
    NONE: (PARTICIPANT, VISITOR),
}

# Section 5.1.1: who may speak to all, and who may change the subject where participants may not.
SPEAKING = frozenset({MODERATOR, PARTICIPANT})
SUBJECT = {True: SPEAKING, False: frozenset({MODERATOR})}

# muc#roomconfig_allowpm (section 15.5.3)
PRIVATE = {
    AllowPM.ANYONE: frozenset({MODERATOR, PARTICIPANT, VISITOR}),
    AllowPM.PARTICIPANTS: frozenset({MODERATOR, PARTICIPANT}),
    AllowPM.MODERATORS: frozenset({MODERATOR}),
    AllowPM.NONE: frozenset(),
}

RANK = {OUTCAST: 0, NONE: 1, MEMBER: 2, ADMIN: 3, OWNER: 4}
ROLE_RANK = {GONE: 0, VISITOR: 1, PARTICIPANT: 2, MODERATOR: 3}

_Targets = dict[Affiliation, frozenset[Affiliation]]
_EVERYBODY = frozenset({OWNER, ADMIN, MEMBER, NONE})
_NOBODY: frozenset[Affiliation] = frozenset()

# Each line: a moderator of this affiliation may do it to occupants of these affiliations.
_ANYBODY: _Targets = {OWNER: _EVERYBODY, ADMIN: _EVERYBODY, MEMBER: _EVERYBODY, NONE: _EVERYBODY}
_KICK: _Targets = {  # section 8.2: nobody above oneself
    OWNER: _EVERYBODY,
    ADMIN: frozenset({ADMIN, MEMBER, NONE}),
    MEMBER: frozenset({MEMBER, NONE}),
    NONE: frozenset({NONE}),
}
_KICK_MODERATOR: _Targets = _KICK | {MEMBER: _NOBODY, NONE: _NOBODY}
_REVOKE_VOICE: _Targets = {  # section 8.4: nobody at or above oneself, and no admin or owner at all
    OWNER: frozenset({MEMBER, NONE}),
    ADMIN: frozenset({MEMBER, NONE}),
    MEMBER: frozenset({NONE}),
    NONE: _NOBODY,
}
_GRANT_MODERATOR: _Targets = {OWNER: _EVERYBODY, ADMIN: _EVERYBODY, MEMBER: _NOBODY, NONE: _NOBODY}  # section 9.6
_REVOKE_MODERATOR: _Targets = {  # section 9.7: never from admins and owners
    OWNER: frozenset({MEMBER, NONE}),
    ADMIN: frozenset({MEMBER, NONE}),
    MEMBER: _NOBODY,
    NONE: _NOBODY,
}

# Section 5.1.3: from which role to which.
ROLE_CHANGES: dict[tuple[Role, Role], _Targets] = {
    (VISITOR, VISITOR): _ANYBODY,
    (VISITOR, PARTICIPANT): _ANYBODY,  # section 8.3: grant voice
    (VISITOR, MODERATOR): _GRANT_MODERATOR,
    (VISITOR, GONE): _KICK,
    (PARTICIPANT, VISITOR): _REVOKE_VOICE,
    (PARTICIPANT, PARTICIPANT): _ANYBODY,
    (PARTICIPANT, MODERATOR): _GRANT_MODERATOR,
    (PARTICIPANT, GONE): _KICK,
    (MODERATOR, VISITOR): _REVOKE_MODERATOR,
    (MODERATOR, PARTICIPANT): _REVOKE_MODERATOR,
    (MODERATOR, MODERATOR): _ANYBODY,
    (MODERATOR, GONE): _KICK_MODERATOR,
}

_ALL = frozenset(Affiliation)
_LOWER = frozenset({MEMBER, NONE, OUTCAST})

# Section 5.2.2: whose affiliations somebody may change, and to what; that admins ban no admins is in it (section 9.1).
AFFILIATION_CHANGES = {OWNER: _ALL, ADMIN: _LOWER, MEMBER: frozenset(), NONE: frozenset(), OUTCAST: frozenset()}

# Sections 9.2, 9.5, 10.5 and 10.8: whose lists somebody may read. An admin's own list is no secret to admins.
AFFILIATION_LISTS = {
    OWNER: frozenset({OWNER, ADMIN, MEMBER, OUTCAST}),
    ADMIN: frozenset({ADMIN, MEMBER, OUTCAST}),
    MEMBER: frozenset(),
    NONE: frozenset(),
    OUTCAST: frozenset(),
}


def check_role_change(actor: tuple[Role, Affiliation], target: tuple[Role, Affiliation], role: Role) -> None:
    """Raise RoomError unless an occupant of this role and affiliation may give the target this role."""
    actor_role, actor_affiliation = actor
    target_role, target_affiliation = target
    if actor_role is not MODERATOR:
        raise RoomError("forbidden", "only moderators change roles")
    if target_affiliation not in ROLE_CHANGES[target_role, role][actor_affiliation]:
        raise RoomError("not-allowed", f"your affiliation does not allow to make this {target_role} {role}")


def check_affiliation_change(actor: Affiliation, target: Affiliation, affiliation: Affiliation) -> None:
    """Raise RoomError unless somebody of this affiliation may give one of the target's this affiliation."""
    allowed = AFFILIATION_CHANGES[actor]
    if not allowed:
        raise RoomError("forbidden", "only admins and owners change affiliations")
    if target not in allowed or affiliation not in allowed:
        raise RoomError("not-allowed", f"only owners make {target} {affiliation}")
