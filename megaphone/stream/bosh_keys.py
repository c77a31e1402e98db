"""Key sequences of BOSH (XEP-0124 section 15): each request proves that it comes from whoever sent the one before."""

from __future__ import annotations

import hashlib
import hmac
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from megaphone.stream.bosh_body import Body


class KeySequence:
    """One session's; `first` is the `newkey` of its first request, None if it has no keys."""

    def __init__(self, first: str | None) -> None:
        self._expected = first

    def take(self, body: Body) -> bool:
        """Take the next request in order; whether its key hashes to the one before."""
        if self._expected is None:
            return True
        # SHA-1 is what the protocol says; nobody has to find two keys of one hash, but the key of a given one
        digest = hashlib.sha1((body.key or "").encode(), usedforsecurity=False).hexdigest()
        if body.key is None or not is_same(digest, self._expected.lower()):
            return False
        self._expected = body.new_key or body.key
        return True


def is_same(one: str | None, other: str | None) -> bool:
    """Compare two keys; the time it takes tells nothing of where they differ."""
    return hmac.compare_digest((one or "").encode(), (other or "").encode())
