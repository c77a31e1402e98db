"""With whom a user wants conversations archived (XEP-0441): everybody, contacts, nobody, and the exceptions."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from megaphone.service.refusal import Refusal
from megaphone.stream.jid import JID
from megaphone.stream.stanza import parse
from megaphone.wire.writer import escape

if TYPE_CHECKING:
    from collections.abc import Iterable
    from xml.etree.ElementTree import Element

    from megaphone.service.home import Home
    from megaphone.service.session import Session, User

MAM = "urn:xmpp:mam:2"
STORED = "archive preferences"  # as a name in the users' private XML: no client can say it, since it has no namespace

_DEFAULTS = ("always", "never", "roster")


class Preferences(NamedTuple):
    """`default` is "always", "never" or "roster"; the two lists go before it. JIDs are bare, or full for one client."""

    default: str = "always"
    always: frozenset[JID] = frozenset()
    never: frozenset[JID] = frozenset()

    def archives(self, user: User, other: JID) -> bool:
        """Whether what is said with somebody is archived; what a list says of a full JID goes before all."""
        for jid in (other, other.bare):
            if jid in self.never:
                return False
            if jid in self.always:
                return True
        if self.default == "roster":
            item = user.roster.get(other.bare)
            return (other.local, other.domain) == (user.local, user.domain) or (item is not None and item.listed)
        return self.default == "always"


_EVERYTHING = Preferences()


def archives(home: Home, user: User, other: JID) -> bool:
    """Whether a user wants what is said with somebody archived."""
    return preferences(home, user).archives(user, other)


def preferences(home: Home, user: User) -> Preferences:
    """Return what a user has chosen; it is read from the store once."""
    if user.preferences is None:
        stored = home.store.private(user.jid, STORED)
        user.preferences = _EVERYTHING if stored is None else _read(parse(stored), len(stored))
    return user.preferences


def get(home: Home, session: Session) -> bytes:
    """Return a user's preferences."""
    return _write(preferences(home, session.user))


def set_(home: Home, session: Session, payload: Element) -> bytes:
    """Take other preferences, and return them."""
    user = session.user
    wanted = _read(payload, home.settings.archive_preferences)
    written = _write(wanted)
    home.store.put_private(user.jid, STORED, written)
    user.preferences = wanted
    return written


def _read(prefs: Element, limit: int) -> Preferences:
    default = prefs.get("default")
    if default not in _DEFAULTS:
        raise Refusal("bad-request", "The default is always, never or roster")
    always, never = (_jids(prefs, name, limit) for name in ("always", "never"))
    if len(always) + len(never) > limit:
        raise Refusal("resource-constraint", f"There are at most {limit} exceptions")
    return Preferences(default, always, never)


def _jids(prefs: Element, name: str, limit: int) -> frozenset[JID]:
    found = prefs.findall(f"{{{MAM}}}{name}/{{{MAM}}}jid")
    if len(found) > limit:
        raise Refusal("resource-constraint", f"There are at most {limit} exceptions")
    try:
        return frozenset(JID.parse((each.text or "").strip()) for each in found)
    except ValueError:
        raise Refusal("jid-malformed", "An exception is a JID") from None


def _write(wanted: Preferences) -> bytes:
    return b"<prefs xmlns='urn:xmpp:mam:2' default='%b'><always>%b</always><never>%b</never></prefs>" % (
        escape(wanted.default),
        _list(wanted.always),
        _list(wanted.never),
    )


def _list(jids: Iterable[JID]) -> bytes:
    return b"".join(b"<jid>%b</jid>" % escape(str(jid)) for jid in sorted(jids))
