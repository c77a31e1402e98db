"""The shared memory of workers: seen by all who map it, and safe from those who would shrink it."""

import mmap
import os

import pytest

from megaphone.dispatch.bosh_slots import BoshSlot
from megaphone.dispatch.cluster_slots import ClusterSlot
from megaphone.dispatch.counters import BOARD_BYTES, AdmissionSlot, Board, LinkSlot, Slot, UpstreamSlot
from megaphone.dispatch.gauges import MAX_LINKS, MAX_UPSTREAMS
from megaphone.dispatch.pages_slots import GAUGES as PAGES_GAUGES
from megaphone.dispatch.round_trip_slots import GAUGES as ROUND_TRIP_GAUGES
from megaphone.dispatch.websocket_slots import WebSocketSlot
from megaphone.supervisor.boards import SharedMemory, WorkerBoard


def test_what_one_process_counts_the_other_reads() -> None:
    board = WorkerBoard(0)
    mapped = Board(mmap.mmap(board.descriptor, BOARD_BYTES))
    mapped.add(Slot.ACCEPTED, 3)
    assert board.counters.get(Slot.ACCEPTED) == 3
    board.close()


def test_only_gauges_of_the_process_are_cleared() -> None:
    board = WorkerBoard(0)
    counters = board.counters
    for slot in range(BOARD_BYTES // 8):
        counters.set(slot, 7)
    board.clear_gauges()
    cleared = {slot for slot in range(BOARD_BYTES // 8) if counters.get(slot) == 0}
    for upstream in range(MAX_UPSTREAMS):
        for slot in (UpstreamSlot.UP_HEALTHY, UpstreamSlot.UP_OPEN, UpstreamSlot.UP_CHECK_NS):
            cleared.remove(Board.upstream_slot(upstream, slot))
        for waiting in (AdmissionSlot.AD_WAITING, AdmissionSlot.AD_OPENING):
            cleared.remove(Board.admission_slot(upstream, waiting))
        for link in range(MAX_LINKS):
            for gauge in ("STATE", "STREAMS", "ROUND_TRIP_NS", "KEPT_BYTES", "UNSENT_BYTES"):
                cleared.remove(Board.link_slot(upstream, link, LinkSlot[f"LI_{gauge}"]))
    assert cleared == {
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
        WebSocketSlot.HTTP_OPEN,
        BoshSlot.OPEN,
        *PAGES_GAUGES,
        *ROUND_TRIP_GAUGES,
        ClusterSlot.NODES,
        ClusterSlot.NATS_UP,
        Slot.HUB_LINKS_ATTACHED,
        Slot.HUB_LINKS_WAITING,
        Slot.HUB_KEPT_BYTES,
        Slot.HUB_UNSENT_BYTES,
        ClusterSlot.NODES,
        ClusterSlot.NATS_UP,
        ClusterSlot.ROWS_SHARED,
    }
    board.close()


@pytest.mark.parametrize("size", [0, 1, 1 << 20])
def test_nobody_can_change_its_size(size: int) -> None:
    shared = SharedMemory("test", 4096)
    with pytest.raises(PermissionError):
        os.ftruncate(shared.descriptor, size)
    assert bytes(shared.memory) == bytes(4096)
    shared.close()
