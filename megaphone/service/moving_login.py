"""What moves of a login when its connection becomes another process': all that rests; what is under way stays behind.

A login rests while it waits for a header, for `<auth/>`, or for a client that is authenticated to bind or to resume;
and while the host resumes a session, which it is asked to do once more. A mechanism between two messages does not rest.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import msgspec

from megaphone.service.attempt import Transport
from megaphone.service.login import Login
from megaphone.service.login_states import State
from megaphone.stream.jid import JID
from megaphone.stream.nonza import Resume

if TYPE_CHECKING:
    from collections.abc import Mapping

    from megaphone.service.authenticator import Authenticator

AT_REST = frozenset({State.WAIT_HEADER, State.WAIT_AUTH, State.WAIT_RESTART, State.WAIT_BIND, State.WAIT_RESUMED})


class LoginSnapshot(msgspec.Struct, array_like=True, frozen=True):
    """One login. `bindings` are those of `attempt.Transport`; `wish` is previd and h of a resumption."""

    state: str
    domain: str | None
    default_domain: str
    failures: int
    account: JID | None
    anonymous: bool
    encrypted: bool
    address: str
    bindings: dict[str, bytes]
    wish: tuple[str, int] | None


def snapshot(login: Login) -> LoginSnapshot | None:
    """Return all there is to know of a login at rest, None for any other."""
    if login.state not in AT_REST or login.attempt is not None:
        return None
    transport = login.transport
    return LoginSnapshot(
        login.state.name,
        login.domain,
        login.default_domain,
        login.failures,
        login.account,
        login.anonymous,
        transport.encrypted,
        transport.address,
        {} if login.account is not None else dict(transport.bindings),
        None if login.state is not State.WAIT_RESUMED or login.wish is None else (login.wish.previd, login.wish.h),
    )


def restore(moved: LoginSnapshot, authenticators: Mapping[str, Authenticator]) -> Login:
    """Return a login that goes on from there; ValueError for a state that is not known, or does not rest."""
    if moved.state not in State.__members__ or State[moved.state] not in AT_REST:
        raise ValueError(f"a login that is in {moved.state}")
    transport = Transport(moved.encrypted, moved.bindings, moved.address)
    login = Login(authenticators if moved.account is None else {}, transport, default_domain=moved.default_domain)
    login.state = State[moved.state]
    login.domain = moved.domain
    login.failures = moved.failures
    login.account = moved.account
    login.anonymous = moved.anonymous
    login.wish = None if moved.wish is None else Resume(*moved.wish)
    return login
