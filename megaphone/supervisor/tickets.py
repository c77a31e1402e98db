"""TLS session ticket keys of the node: the same in every worker, so that a client may resume with any of them."""

import secrets
import time
from collections.abc import Sequence
from typing import Final

KEY_BYTES: Final = 80  # 16 name, 32 AES-256 key, 32 HMAC key
KEPT: Final = 3  # the newest encrypts; the older ones still decrypt


class TicketKeys:
    """The keys in use; `made_seconds` is when the newest was made (time.monotonic)."""

    def __init__(self, keys: Sequence[bytes] = (), made_seconds: float = 0.0) -> None:
        self.keys = tuple(keys)
        self.made_seconds = made_seconds
        if not keys:
            self.rotate()

    def rotate(self) -> None:
        """Makes a new key."""
        self.keys = rotated(self.keys, secrets.token_bytes(KEY_BYTES))
        self.made_seconds = time.monotonic()

    def hex(self) -> list[str]:
        """As workers are told."""
        return [key.hex() for key in self.keys]


def rotated(keys: tuple[bytes, ...], fresh: bytes) -> tuple[bytes, ...]:
    """The keys after a rotation, newest first, at most `KEPT`; `fresh` is `KEY_BYTES` of new randomness."""
    if len(fresh) != KEY_BYTES:
        raise ValueError(f"a ticket key has {KEY_BYTES} bytes, got {len(fresh)}")
    return (fresh, *keys)[:KEPT]
