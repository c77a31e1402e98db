"""Client state indication (XEP-0352): what nobody looks at may wait.

While a client is inactive, presence and chat states are held, for each sender the newest. They leave in order, in front
of the next stanza that cannot wait, when the client becomes active, or when there are too many.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from megaphone.service.home import Home
    from megaphone.service.session import Session
    from megaphone.stream.jid import JID


def set_active(home: Home, session: Session, active: bool) -> None:
    """Take note of `<active/>` or `<inactive/>`; a new stream, also a resumed one, is active (XEP-0352 section 5)."""
    session.inactive = not active
    if active and session.held:
        release(home, session)
    home.refresh(session.user)


def hold(home: Home, session: Session, stanza: bytes, what: str, source: JID) -> None:
    """Let a stanza wait, in place of an older one of the same kind and source."""
    if session.held is None:
        session.held = {}
    session.held.pop((what, source), None)
    session.held[what, source] = stanza
    if len(session.held) > home.settings.held_stanzas:
        release(home, session)


def release(home: Home, session: Session) -> None:
    """Send all that waits."""
    held, session.held = session.held, None
    for stanza in (held or {}).values():
        home.outlet.deliver(session, stanza)
