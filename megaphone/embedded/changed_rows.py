"""What other nodes have changed in rows that users and rooms of this node have in memory: their homes read it again.

    rows.changed     MessagePack: local parts of users, local parts of rooms, names of secrets

Worker 0, which writes the rows (embedded.tables), tells all workers, and each looks for those at home with it. What
cannot be told, since too much waits for a worker, is told with the next sweep.
"""

from __future__ import annotations

from collections import deque
from functools import partial
from typing import TYPE_CHECKING, Final

import msgspec

from megaphone.stream.jid import JID

if TYPE_CHECKING:
    from collections.abc import Callable

    from megaphone.bus.ports import Bus, Message
    from megaphone.embedded.router import Router
    from megaphone.storage.replicated import Applied

CHANGED: Final = "rows.changed"
WAITING_LIMIT: Final = 1024  # batches of changes; beyond that the oldest is not told, and what is in memory stays


class ChangedRows:
    """Tells changes to all workers, and hears of them in one.

    `refresh_user(local, now)` and `refresh_room(jid, now)` read one again that is at home here, and may route stanzas;
    `refresh_secret(name)` is called in every worker.
    """

    def __init__(self, bus: Bus, router: Router) -> None:
        self._bus = bus
        self._router = router
        self.refresh_user: Callable[[str, float], object] | None = None
        self.refresh_room: Callable[[JID, float], object] | None = None
        self.refresh_secret: Callable[[str], object] | None = None
        self._waiting: deque[bytes] = deque(maxlen=WAITING_LIMIT)
        bus.subscribe(CHANGED, self._hear)

    def tell(self, applied: Applied) -> None:
        """Tell all workers of this node."""
        self._waiting.append(msgspec.msgpack.encode((list(applied.users), list(applied.rooms), list(applied.secrets))))
        self.sweep()

    def sweep(self) -> None:
        """Tell what could not be told before."""
        while self._waiting and self._bus.publish(CHANGED, self._waiting[0]):
            self._waiting.popleft()

    def _hear(self, message: Message) -> None:
        users, rooms, secrets = msgspec.msgpack.decode(message.payload, type=tuple[list[str], list[str], list[str]])
        router = self._router
        now = router.now()
        if self.refresh_user is not None:
            for local in users:
                if router.home(JID(local, router.domain)) == router.index:
                    self._do(partial(self.refresh_user, local, now))
        if self.refresh_room is not None:
            for local in rooms:
                room = JID(local, router.rooms_domain)
                if router.home(room) == router.index:
                    self._do(partial(self.refresh_room, room, now))
        if self.refresh_secret is not None:
            for name in secrets:
                self._do(partial(self.refresh_secret, name))
        router.drain()

    def _do(self, refresh: Callable[[], object]) -> None:
        """One user's trouble must not cost the others."""
        try:
            refresh()
        except Exception as error:  # noqa: BLE001 - told, and the rest goes on
            self._router.fault(error)
