"""The configuration form of a room: its fields as a table, what may be put in, and what a change does.

Fields, values and options are XEP-0045 section 15.5.3's (muc#roomconfig). A field that is not in the table is passed
over: clients send back what other services offer.
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, NamedTuple

from megaphone.errors import RoomError
from megaphone.rooms import forms, presence
from megaphone.rooms.forms import read_boolean, read_single
from megaphone.rooms.leaving import remove
from megaphone.rooms.names import MUC_ROOM_CONFIG, Status
from megaphone.rooms.ports import Affiliation, AllowPM, Role, Whois

if TYPE_CHECKING:
    from collections.abc import Callable

    from megaphone.rooms.ports import RoomConfig, RoomSettings
    from megaphone.rooms.room import Room

PROTECTED = "muc#roomconfig_passwordprotectedroom"
SECRET = "muc#roomconfig_roomsecret"  # noqa: S105 - the name of a field
ROLES = (Role.MODERATOR, Role.PARTICIPANT, Role.VISITOR)
MAX_USERS = ("10", "20", "30", "50", "100", "200", "500", "1000")


class Field(NamedTuple):
    """One field of the form and the configuration key it stands for."""

    var: str
    type: str
    label: str
    key: str
    write: Callable[[RoomConfig], list[str]]
    read: Callable[[str, list[str], RoomSettings], object]
    options: Callable[[RoomConfig], tuple[tuple[str, str], ...]] = lambda config: ()


def _text(limit: str) -> Callable[[str, list[str], RoomSettings], str]:
    def read(var: str, values: list[str], settings: RoomSettings) -> str:
        text = "\n".join(values)
        if len(text) > getattr(settings, limit):
            raise RoomError("not-acceptable", f"{var} has at most {getattr(settings, limit)} characters")
        return text

    return read


def _boolean(key: str) -> tuple[str, Callable[[RoomConfig], list[str]], Callable[[str, list[str], RoomSettings], bool]]:
    return (
        key,
        lambda config: [forms.boolean(getattr(config, key))],
        lambda var, values, settings: read_boolean(var, values),
    )


def _read_max_users(var: str, values: list[str], settings: RoomSettings) -> int:
    text = read_single(var, values)
    if text in ("", "none"):
        return 0
    return _number(var, text, 1, settings.occupants_limit)


def _read_history(var: str, values: list[str], settings: RoomSettings) -> int:
    return _number(var, read_single(var, values) or "0", 0, settings.history_limit)


def _number(var: str, text: str, least: int, most: int) -> int:
    if not (text.isascii() and text.isdecimal() and len(text) < 10 and least <= int(text) <= most):
        raise RoomError("not-acceptable", f"{var} is a number from {least} to {most}")
    return int(text)


def _read_whois(var: str, values: list[str], settings: RoomSettings) -> Whois:
    return Whois(_one_of(var, values, Whois))


def _read_allow_pm(var: str, values: list[str], settings: RoomSettings) -> AllowPM:
    return AllowPM(_one_of(var, values, AllowPM))


def _one_of(var: str, values: list[str], allowed: type[Whois] | type[AllowPM]) -> str:
    text = read_single(var, values)
    names = [str(each) for each in allowed]
    if text not in names:
        raise RoomError("not-acceptable", f"{var} is one of {', '.join(names)}")
    return text


def _read_roles(var: str, values: list[str], settings: RoomSettings) -> tuple[Role, ...]:
    if not set(values) <= set(ROLES):
        raise RoomError("not-acceptable", f"{var} takes {', '.join(ROLES)}")
    return tuple(role for role in ROLES if role in values)


def _same(*values: str) -> tuple[tuple[str, str], ...]:
    return tuple((value, value) for value in values)


def _max_users_options(config: RoomConfig) -> tuple[tuple[str, str], ...]:
    own = (str(config.max_users),) if config.max_users and str(config.max_users) not in MAX_USERS else ()
    return (("as many as the service allows", "none"), *_same(*MAX_USERS, *own))


FIELDS = (
    Field("muc#roomconfig_roomname", "text-single", "Name", "name", lambda config: [config.name],
          _text("title_limit_characters")),
    Field("muc#roomconfig_roomdesc", "text-multi", "Description", "description",
          lambda config: config.description.split("\n"), _text("description_limit_characters")),
    Field("muc#roomconfig_persistentroom", "boolean", "Keep the room when nobody is in it", *_boolean("persistent")),
    Field("muc#roomconfig_publicroom", "boolean", "Show the room in the list", *_boolean("public")),
    Field("muc#roomconfig_membersonly", "boolean", "Only members may enter", *_boolean("members_only")),
    Field("muc#roomconfig_moderatedroom", "boolean", "Only those with voice may speak", *_boolean("moderated")),
    Field("muc#roomconfig_allowinvites", "boolean", "Occupants may invite into a members-only room",
          *_boolean("allow_invites")),
    Field("muc#roomconfig_changesubject", "boolean", "Participants may change the subject",
          *_boolean("change_subject")),
    Field("muc#roomconfig_maxusers", "list-single", "How many may be in the room", "max_users",
          lambda config: [str(config.max_users) if config.max_users else "none"], _read_max_users, _max_users_options),
    Field("muc#roomconfig_whois", "list-single", "Who sees real JIDs", "whois", lambda config: [config.whois],
          _read_whois, lambda config: _same(*Whois)),
    Field("muc#roomconfig_allowpm", "list-single", "Who may send private messages", "allow_pm",
          lambda config: [config.allow_pm], _read_allow_pm, lambda config: _same(*AllowPM)),
    Field("muc#roomconfig_presencebroadcast", "list-multi", "Roles whose presence is shown to all",
          "presence_broadcast", lambda config: list(config.presence_broadcast), _read_roles,
          lambda config: _same(*ROLES)),
    Field("muc#roomconfig_historylength", "text-single", "Messages that a new occupant gets at most", "history_length",
          lambda config: [str(config.history_length)], _read_history),
)  # fmt: skip


def form(room: Room) -> bytes:
    """Return the form as it is to be filled in."""
    fields = [
        forms.field(each.var, each.type, each.write(room.config), each.label, each.options(room.config))
        for each in FIELDS
    ]
    fields += [
        forms.field(PROTECTED, "boolean", [forms.boolean(bool(room.config.password))], "A password is needed to enter"),
        forms.field(SECRET, "text-private", [room.config.password], "Password"),
    ]
    title = f"Configuration of {room.address}"
    return forms.form("form", MUC_ROOM_CONFIG, fields, title, "Fields that are left out stay as they are.")


def read(submitted: dict[str, list[str]], config: RoomConfig, settings: RoomSettings) -> RoomConfig:
    """Return the configuration that a submitted form asks for; RoomError for what no room can be (section 10.2)."""
    changes: dict[str, object] = {
        each.key: each.read(each.var, submitted[each.var], settings) for each in FIELDS if each.var in submitted
    }
    password = _text("password_limit_characters")(SECRET, submitted.get(SECRET, [config.password]), settings)
    if PROTECTED in submitted:
        protected = read_boolean(PROTECTED, submitted[PROTECTED])
        if protected and not password:
            raise RoomError("not-acceptable", f"{SECRET} is missing")
        password = password if protected else ""
    changes["password"] = password
    return replace(config, **changes)  # type: ignore[arg-type]


def apply(room: Room, config: RoomConfig) -> None:
    """Make the room what the configuration says, and tell its occupants."""
    before, was_kept = room.config, room.persistent
    if room.mirror is None and was_kept and not config.persistent:
        room.read_archive()
    room.config = config
    if room.locked:
        return
    if was_kept and not room.persistent:
        room.forget()
    elif room.persistent and not was_kept:
        room.save_all()
    else:
        room.save()
    show(room, before)


def show(room: Room, before: RoomConfig) -> None:
    """Tell the occupants what has changed in the configuration, and do what it means for them."""
    config = room.config
    if before == config:
        return
    statuses: tuple[Status, ...] = ()
    if before.whois is not config.whois:
        anyone = config.whois is Whois.ANYONE
        statuses = (Status.NOW_NON_ANONYMOUS if anyone else Status.NOW_SEMI_ANONYMOUS,)
    if replace(before, whois=config.whois) != config:
        statuses = (Status.CONFIGURATION_CHANGED, *statuses)
    room.say_statuses(*statuses)
    if config.members_only and not before.members_only:
        outsiders = [each for each in room.occupants if room.affiliations.of(each.bare) is Affiliation.NONE]
        remove(room, outsiders, presence.Why((Status.NOW_MEMBERS_ONLY,)))
    _show_and_hide(room, before)
    if not config.persistent:
        room.close_if_empty()


def _show_and_hide(room: Room, before: RoomConfig) -> None:
    """Show the occupants whose roles' presence is broadcast from now on, and let those vanish whose is no longer."""
    for occupant in room.occupants:
        was = occupant.role in before.presence_broadcast
        is_shown = occupant.role in room.config.presence_broadcast
        if is_shown and not was:
            presence.show_to_others(room, occupant, was=Role.NONE)
        elif was and not is_shown:
            presence.hide(room, occupant)
