"""Which nodes keep a room: rendezvous hashing, which all compute alike and a node's coming or going hardly disturbs.

Thaler, Ravishankar, "Using name-based mappings to increase hit rates" (1998).
The score is SHA-256(room ‖ node), the highest first.
When a node goes, only its rooms get another keeper; when one comes, it takes its share and nothing else moves.
"""

from __future__ import annotations

from hashlib import sha256
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable

    from megaphone.history.entry import Origin
    from megaphone.history.manifest import RoomID


def ranked(room: RoomID, nodes: Iterable[Origin]) -> list[Origin]:
    """Return all nodes, those first that should rather keep the room; each once."""
    return sorted(set(nodes), key=lambda node: (sha256(room + node).digest(), node), reverse=True)


def keepers(room: RoomID, nodes: Iterable[Origin], count: int) -> list[Origin]:
    """Return the `count` nodes that keep the room, or all if there are fewer."""
    return ranked(room, nodes)[:count]
