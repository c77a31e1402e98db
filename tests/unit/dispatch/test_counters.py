"""The counter board: fixed places in shared memory."""

import mmap

import pytest

from megaphone.dispatch.counters import BOARD_BYTES, AdmissionSlot, Board, Kind, LinkSlot, Reason, Slot, UpstreamSlot

CONNECT_BUCKETS = 7
UPSTREAMS, LINKS, BLOCK = 64, 16, 16


@pytest.fixture
def board() -> Board:
    return Board(bytearray(BOARD_BYTES))


def test_slots_are_set_and_added_to(board: Board) -> None:
    board.set(Slot.GENERATION, 41)
    board.add(Slot.GENERATION, 1)
    assert board.get(Slot.GENERATION) == 42
    board.set(Slot.RSS_BYTES, 2**64 - 1)
    board.add(Slot.RSS_BYTES, 2)
    assert board.get(Slot.RSS_BYTES) == 1
    board.add(Slot.OPEN_CLOSING, 2**64 - 1)  # a gauge goes down
    board.add(Slot.OPEN_CLOSING, 1)
    assert board.get(Slot.OPEN_CLOSING) == 0


def test_what_is_no_slot_is_left_alone() -> None:
    memory = bytearray(BOARD_BYTES + 16)
    board = Board(memory)
    for slot in (-1, BOARD_BYTES // 8, 2**31 - 1):
        board.set(slot, 7)
        board.add(slot, 7)
        assert board.get(slot) == 0
    assert not any(memory)


def test_a_board_is_a_view_of_memory_that_others_see() -> None:
    memory = mmap.mmap(-1, BOARD_BYTES)
    ours, theirs = Board(memory), Board(memory)
    ours.add(Slot.ACCEPTED, 3)
    assert theirs.get(Slot.ACCEPTED) == 3
    assert memory[Slot.ACCEPTED * 8] == 3
    with pytest.raises(BufferError):
        memory.close()  # while boards look at it
    del ours, theirs
    memory.close()


def test_memory_that_is_too_small_or_read_only_is_refused() -> None:
    with pytest.raises(ValueError, match=f"a board needs {BOARD_BYTES} bytes"):
        Board(bytearray(BOARD_BYTES - 1))
    with pytest.raises(BufferError):
        Board(bytes(BOARD_BYTES))


def test_no_two_meanings_share_a_slot() -> None:
    taken: list[int] = []
    widths = {
        Slot.CLOSED_BY_REASON: Reason.REASONS,
        Slot.STANZAS_IN: len(Kind),
        Slot.STANZAS_OUT: len(Kind),
        Slot.UPSTREAM_BLOCKS: 0,
        Slot.ADMISSION_BLOCKS: 0,
        Slot.LINK_BLOCKS: 0,
    }
    for slot in Slot:
        taken += range(slot, slot + widths.get(slot, 1))
    assert len(taken) == len(set(taken))
    assert max(taken) < Slot.UPSTREAM_BLOCKS


def test_every_upstream_has_a_block_of_its_own() -> None:
    taken: list[int] = []
    for upstream in range(UPSTREAMS):
        for slot in UpstreamSlot:
            first = Board.upstream_slot(upstream, slot)
            taken += range(first, first + (CONNECT_BUCKETS if slot is UpstreamSlot.UP_CONNECT_BUCKETS else 1))
    assert len(taken) == len(set(taken)) == UPSTREAMS * BLOCK
    assert min(taken) == Slot.UPSTREAM_BLOCKS
    assert max(taken) == Slot.ADMISSION_BLOCKS - 1


def test_admission_has_a_block_for_every_upstream() -> None:
    taken: list[int] = []
    for upstream in range(UPSTREAMS):
        for slot in AdmissionSlot:
            first = Board.admission_slot(upstream, slot)
            taken += range(first, first + (CONNECT_BUCKETS if slot is AdmissionSlot.AD_ANSWER_BUCKETS else 1))
    assert len(taken) == len(set(taken))
    assert min(taken) == Slot.ADMISSION_BLOCKS
    assert max(taken) < Slot.LINK_BLOCKS


def test_every_link_has_a_block_of_its_own() -> None:
    taken = [
        Board.link_slot(upstream, link, slot)
        for upstream in range(UPSTREAMS)
        for link in range(LINKS)
        for slot in LinkSlot
    ]
    assert len(taken) == len(set(taken)) == UPSTREAMS * LINKS * BLOCK
    assert (min(taken), max(taken)) == (Slot.LINK_BLOCKS, BOARD_BYTES // 8 - 1)
