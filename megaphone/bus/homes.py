"""Which worker is whose home: rendezvous hashing (Thaler and Ravishankar, 1996).

Every worker gives every name a weight, and the greatest weight wins. When one worker more takes part, only the names
that it wins move.
"""

from functools import lru_cache
from hashlib import blake2b

CACHE_SIZE = 262_144


@lru_cache(CACHE_SIZE)
def home_of(name: str, workers: int) -> int:
    """Return the index, 0 to workers - 1, of the home of a bare JID; the same in every process and on every machine."""
    if workers == 1:
        return 0
    encoded = name.encode()
    return max(range(workers), key=lambda index: (_weight(encoded, index), index))


def _weight(name: bytes, index: int) -> bytes:
    return blake2b(name, digest_size=8, key=index.to_bytes(4, "big")).digest()
