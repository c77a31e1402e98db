"""An address that is dialled until it answers, and again when it is lost; and addresses as users write them."""

from __future__ import annotations

import asyncio
import contextlib
from typing import TYPE_CHECKING, Final

from megaphone.peers.hello import Reason
from megaphone.peers.names import hash_to_port
from megaphone.peers.redial import Redial
from megaphone.sockets.endpoint import parse_address

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from megaphone.peers.connection import Address

TYPED_LIMIT: Final = 64

_FINAL: Final = frozenset({Reason.KEY_CHANGED, Reason.TOO_MANY_NAMES, Reason.VERSION, Reason.FULL})


class Target:
    """`node` is who listens there, as far as is known."""

    def __init__(self, address: Address, node: str | None, chance: Callable[[], float]) -> None:
        self.address = address
        self.node = node
        self.task: asyncio.Task[None] | None = None
        self._redial = Redial(chance)
        self._seen = asyncio.Event()

    @property
    def failures(self) -> int:
        """Attempts that failed since it was last heard of."""
        return self._redial.failures

    def seen(self) -> None:
        """It was heard of just now."""
        self._redial.seen()
        self._seen.set()

    async def pause(self, lasted_seconds: float, refused: str) -> None:
        """Wait until it should be dialled again."""
        seconds = self._redial.refused() if refused in _FINAL else self._redial.failed(lasted_seconds)
        self._seen.clear()
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(seconds):
                await self._seen.wait()


def parse_peers(texts: Iterable[str]) -> list[Address]:
    """Return the addresses of "HOST:PORT", "NAME.local" and lists of them with commas; ValueError says what is wrong.

    Without a port it is the one that `hash_to_port` gives the name before ".local", as in the workshop chat.
    """
    found: dict[Address, None] = {}
    for text in (each.strip() for argument in texts for each in argument.split(",")):
        name = text.lower().removesuffix(".local")
        bare = ":" not in text and name != text.lower()
        endpoint = parse_address(f"{text}:{hash_to_port(name)}" if bare else text)
        if endpoint.path is not None or not endpoint.host or not endpoint.port:
            raise ValueError(f'"{text}" is no HOST:PORT and no NAME.local')
        found[endpoint.host, endpoint.port] = None
    if len(found) > TYPED_LIMIT:
        raise ValueError(f"there are more than {TYPED_LIMIT} peers")
    return list(found)
