"""What moves of stream management (XEP-0198) when a session's home becomes another process."""

from __future__ import annotations

import msgspec

from megaphone.stream.resumption import SMLimits, StreamManagement


class ManagementSnapshot(msgspec.Struct, array_like=True, frozen=True):
    """Counters and queue of one session; `limits` are `SMLimits`, those at the time when the client enabled it."""

    id: str
    handled: int
    acknowledged: int
    queue: tuple[bytes, ...]
    asked: bool
    unasked: int
    limits: tuple[int, int, int]


def snapshot(management: StreamManagement) -> ManagementSnapshot:
    """Return all there is to know of it."""
    limits = management.limits
    return ManagementSnapshot(
        management.id,
        management.handled,
        management.acknowledged,
        tuple(management.waiting),
        management.asked,
        management.unasked,
        (limits.stanzas, limits.bytes, limits.request_every),
    )


def restore(moved: ManagementSnapshot, common: SMLimits) -> StreamManagement:
    """Return what answers as the one that was snapshot; `common` are the limits of most sessions, shared."""
    limits = SMLimits(*moved.limits)
    management = StreamManagement(moved.id, common if limits == common else limits)
    management.handled = moved.handled
    for stanza in moved.queue:
        management.sent(stanza)
    management.acknowledged = moved.acknowledged
    management.asked = moved.asked
    management.unasked = moved.unasked
    return management
