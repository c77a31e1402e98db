"""Failed logins count for the whole node: each worker tells the others of its own.

    logins.failed     MessagePack: worker, address or "", local part of the account or nil
    logins.succeeded  MessagePack: worker, local part of the account

What cannot be told, since too much waits for a worker, is counted here alone. Nobody is told twice: a locked address or
account does not get as far as to fail.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import msgspec

from megaphone.stream.jid import JID

if TYPE_CHECKING:
    from collections.abc import Callable

    from megaphone.bus.ports import Bus, Message
    from megaphone.service.authenticator import Authenticator

FAILED: Final = "logins.failed"
SUCCEEDED: Final = "logins.succeeded"


class Guesses:
    """What one worker (`index`) and the others tell each other of guessed passwords. `now()` is in Unix seconds."""

    def __init__(self, bus: Bus, authenticator: Authenticator, index: int, now: Callable[[], float]) -> None:
        self._bus = bus
        self._authenticator = authenticator
        self._index = index
        self._now = now
        authenticator.tell_failed = self._tell_failed
        authenticator.tell_succeeded = self._tell_succeeded
        bus.subscribe(FAILED, self._hear_failed)
        bus.subscribe(SUCCEEDED, self._hear_succeeded)

    def _tell_failed(self, address: str, account: JID | None) -> None:
        local = None if account is None else account.local
        self._bus.publish(FAILED, msgspec.msgpack.encode((self._index, address, local)))

    def _tell_succeeded(self, account: JID) -> None:
        self._bus.publish(SUCCEEDED, msgspec.msgpack.encode((self._index, account.local)))

    def _hear_failed(self, message: Message) -> None:
        worker, address, local = msgspec.msgpack.decode(message.payload)
        if worker != self._index:
            account = None if local is None else JID(local, self._authenticator.domain)
            self._authenticator.count_failed(address, account, self._now())

    def _hear_succeeded(self, message: Message) -> None:
        worker, local = msgspec.msgpack.decode(message.payload)
        if worker != self._index:
            self._authenticator.forget_failed(JID(local, self._authenticator.domain))
