"""What the pages of one worker need of the world around them."""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from collections.abc import Callable


class Connection(Protocol):
    """One browser's message connection."""

    def send_text(self, text: bytes) -> bool:
        """Send one message; False if the connection is gone, or goes now."""

    def close(self, code: int, reason: str = "") -> None:
        """End it with a status code of RFC 6455."""


class Elsewhere(Protocol):
    """The other workers and nodes. `subject` is a page's or a site's (pages.sites)."""

    def tell(self, subject: str, payload: bytes) -> bool:
        """Bring this to all who are interested; False if some may not get it."""

    def tell_site(self, site: str, payload: bytes) -> bool:
        """Bring this to one site."""

    def interest(self, subject: str) -> bool:
        """Hear what is told about a subject from now on; False if there is no room for more subjects."""

    def lose_interest(self, subject: str) -> None:
        """Hear of it no more."""

    def fetch(self, site: str, page: str, answered: Callable[[bytes | None], None]) -> bool:
        """Ask a site for a page; `answered` gets its answer once, later, None if there is none. False: it cannot be."""


class Alone:
    """There is nobody else."""

    def tell(self, subject: str, payload: bytes) -> bool:
        """Nobody hears it."""
        return True

    def tell_site(self, site: str, payload: bytes) -> bool:
        """Nobody is there."""
        return False

    def interest(self, subject: str) -> bool:
        """Nothing will be heard."""
        return True

    def lose_interest(self, subject: str) -> None:
        """Nothing is heard."""

    def fetch(self, site: str, page: str, answered: Callable[[bytes | None], None]) -> bool:
        """Nobody can be asked."""
        return False
