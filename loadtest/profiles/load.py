"""Reads profiles: by name from this directory or by path, with keys overridden on the command line.

Every mistake is one ProfileError that names the profile, the key and what would be right.
"""

import difflib
import re
import tomllib
from pathlib import Path
from typing import Any, get_args

import msgspec

from loadtest.profiles.schema import Profile, Table

DIRECTORY = Path(__file__).parent
FILE_LIMIT_BYTES = 65_536

_UNKNOWN = re.compile(r"Object contains unknown field `(.*?)`(?: - at `\$\.?(.*)`)?")
_PLACE = re.compile(r"(.*) - at `\$\.?(.*)`")


class ProfileError(Exception):
    """A profile that is not there or says what it cannot mean."""


def names() -> list[str]:
    """The profiles that come with the load test."""
    return sorted(path.stem for path in DIRECTORY.glob("*.toml"))


def load(name: str, overrides: str = "") -> Profile:
    """Return the profile of a name (`chat`) or path (`./mine.toml`); see `overridden` for `overrides`."""
    return build(tables(name, overrides), name)


def tables(name: str, overrides: str = "") -> dict[str, Any]:
    """Return the tables of a profile as they will be checked: plain data that can be sent to another process."""
    path = Path(name) if "/" in name or name.endswith(".toml") else DIRECTORY / f"{name}.toml"
    if path.parent == DIRECTORY and not path.exists():
        raise ProfileError(f"there is no profile {name!r}{nearest(name, names())}: {', '.join(names())}")
    try:
        with path.open("rb") as opened:
            data = opened.read(FILE_LIMIT_BYTES + 1)
        if len(data) > FILE_LIMIT_BYTES:
            raise ProfileError(f"profile {name}: larger than {FILE_LIMIT_BYTES} bytes")
        found = tomllib.loads(data.decode())
    except OSError as error:
        raise ProfileError(f"profile {name}: cannot be read: {error.strerror}") from None
    except (ValueError, RecursionError) as error:  # of TOML or UTF-8
        raise ProfileError(f"profile {name}: not valid TOML: {error}") from None
    return overridden(found, overrides, name)


def build(found: dict[str, Any], name: str) -> Profile:
    """Check the tables of a profile; `name` is for errors."""
    try:
        profile = msgspec.convert(found, Profile)
    except msgspec.ValidationError as error:
        raise ProfileError(f"profile {name}: {_explained(str(error))}") from None
    activity = profile.activity
    if activity.space_seconds and activity.ping_seconds:
        raise ProfileError(f"profile {name}: activity.space_seconds and activity.ping_seconds exclude each other")
    if activity.room_occupants > profile.sessions.per_user:
        raise ProfileError(
            f"profile {name}: activity.room_occupants is {activity.room_occupants}, "
            f"but a User has {profile.sessions.per_user} sessions (sessions.per_user) to share a room"
        )
    if profile.criteria.back_seconds is not None and profile.disturbance is None:
        raise ProfileError(f"profile {name}: criteria.back_seconds asks for a [disturbance]")
    return profile


def overridden(found: dict[str, Any], overrides: str, name: str) -> dict[str, Any]:
    """Put `key=value` pairs, separated by white space, into the tables; a key may go without the name of its table."""
    known = keys()
    for pair in overrides.split():
        key, equals, text = pair.partition("=")
        full = [each for each in known if key in (each, each.partition(".")[2])]
        if not equals or not full:
            raise ProfileError(f"cannot set {pair!r}: expected key=value{nearest(key, known)}")
        try:
            value = tomllib.loads(f"value = {text}")["value"]
        except tomllib.TOMLDecodeError:
            raise ProfileError(f"cannot set {full[0]} of profile {name}: {text!r} is not a value of TOML") from None
        table, _, field = full[0].partition(".")
        found.setdefault(table, {})[field] = value
    return found


def keys() -> list[str]:
    """Every key that a profile can have, as `table.key`."""
    found: list[str] = []
    for field in msgspec.structs.fields(Profile):
        for kind in (field.type, *get_args(field.type)):
            if isinstance(kind, type) and issubclass(kind, Table):
                found += [f"{field.name}.{each.name}" for each in msgspec.structs.fields(kind)]
    return found


def nearest(word: str, known: list[str]) -> str:
    """`; did you mean …?` or nothing."""
    short = {each.rpartition(".")[2]: each for each in known}
    close = difflib.get_close_matches(word.rpartition(".")[2], short, n=1, cutoff=0.5)
    return f"; did you mean {short[close[0]]}?" if close else ""


def _explained(message: str) -> str:
    if found := _UNKNOWN.fullmatch(message):
        key = f"{found[2]}.{found[1]}" if found[2] else found[1]
        own = [field.name for field in msgspec.structs.fields(Profile)]
        siblings = [each for each in keys() if each.startswith(f"{found[2]}.")] if found[2] else own + keys()
        return f"there is no key {key}{nearest(found[1], siblings)}"
    if found := _PLACE.fullmatch(message):
        return f"{found[2]}: {found[1][0].lower()}{found[1][1:]}"
    return message
