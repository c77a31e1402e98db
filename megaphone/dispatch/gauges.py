"""Which slots of a board are gauges: true of one process only, so that its successor begins them anew."""

from collections.abc import Iterator
from typing import Final

from megaphone.dispatch.bosh_slots import BoshSlot
from megaphone.dispatch.cluster_slots import ClusterSlot
from megaphone.dispatch.counters import AdmissionSlot, Board, LinkSlot, Slot, UpstreamSlot
from megaphone.dispatch.pages_slots import GAUGES as PAGES_GAUGES
from megaphone.dispatch.round_trip_slots import GAUGES as ROUND_TRIP_GAUGES
from megaphone.dispatch.websocket_slots import WebSocketSlot

MAX_UPSTREAMS: Final = 64
MAX_LINKS: Final = 16

PROCESS_GAUGES: Final = (
    Slot.HEARTBEAT_NS,
    Slot.STARTED_NS,
    Slot.LOOP_LAG_NS,
    Slot.LOOP_LAG_MAX_NS,
    Slot.RSS_BYTES,
    Slot.OPEN_NEGOTIATING,
    Slot.OPEN_CONNECTING,
    Slot.OPEN_RELAYING_PREAUTH,
    Slot.OPEN_AUTHENTICATED,
    Slot.OPEN_CLOSING,
    Slot.OPEN_RELAYING,
    Slot.MAILBOX_BYTES,
    Slot.MAILBOX_MEMORY_BYTES,
    Slot.SESSIONS,
    Slot.SESSIONS_WAITING,
    Slot.ROOMS,
    Slot.OCCUPANTS,
    Slot.STORE_WAITING,
    Slot.RELAYED_OPEN,
    Slot.PROMISES_WAITING,
    WebSocketSlot.OPEN,
    *PAGES_GAUGES,
    *ROUND_TRIP_GAUGES,
    WebSocketSlot.HTTP_OPEN,
    BoshSlot.OPEN,
    ClusterSlot.NODES,
    ClusterSlot.NATS_UP,
    ClusterSlot.ROWS_SHARED,
    Slot.HUB_LINKS_ATTACHED,
    Slot.HUB_LINKS_WAITING,
    Slot.HUB_KEPT_BYTES,
    Slot.HUB_UNSENT_BYTES,
)
UPSTREAM_GAUGES: Final = (UpstreamSlot.UP_HEALTHY, UpstreamSlot.UP_OPEN, UpstreamSlot.UP_CHECK_NS)

ADMISSION_GAUGES: Final = (AdmissionSlot.AD_WAITING, AdmissionSlot.AD_OPENING)
LINK_GAUGES: Final = (
    LinkSlot.LI_STATE,
    LinkSlot.LI_STREAMS,
    LinkSlot.LI_ROUND_TRIP_NS,
    LinkSlot.LI_KEPT_BYTES,
    LinkSlot.LI_UNSENT_BYTES,
)


def gauge_slots() -> Iterator[int]:
    """Every gauge of a board."""
    yield from PROCESS_GAUGES
    for upstream in range(MAX_UPSTREAMS):
        yield from (Board.upstream_slot(upstream, slot) for slot in UPSTREAM_GAUGES)
        yield from (Board.admission_slot(upstream, slot) for slot in ADMISSION_GAUGES)
        for link in range(MAX_LINKS):
            yield from (Board.link_slot(upstream, link, slot) for slot in LINK_GAUGES)
