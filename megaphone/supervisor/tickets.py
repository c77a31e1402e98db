"""TLS session ticket keys of the node: the same in every worker, so that a client may resume with any of them."""

from typing import Final

KEY_BYTES: Final = 80  # 16 name, 32 AES-256 key, 32 HMAC key
KEPT: Final = 3  # the newest encrypts; the older ones still decrypt


def rotated(keys: tuple[bytes, ...], fresh: bytes) -> tuple[bytes, ...]:
    """The keys after a rotation, newest first, at most `KEPT`; `fresh` is `KEY_BYTES` of new randomness."""
    if len(fresh) != KEY_BYTES:
        raise ValueError(f"a ticket key has {KEY_BYTES} bytes, got {len(fresh)}")
    return (fresh, *keys)[:KEPT]
