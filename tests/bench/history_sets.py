"""The four cases of a sync: two replicas of a room whose sets differ as those of Negentropy's tests do.

    identical    nothing differs
    one missing  an entry in the middle of a feed is here and not there
    last 1,000   one replica has been away
    scattered    an origin that writes seldom has said something else to each since half of the time: 100 + 100
                 entries, spread over all the others; heads agree, and only the digest tells that something differs
    known gaps   the same number, lost in any place: each knows its gaps, and asks for them

Five origins, a message a second. Signatures are real.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Iterator
from typing import NamedTuple

from megaphone.history.batch import Batch, ids
from megaphone.history.memory import MemoryStore
from megaphone.history.sync_repair import MAX_SET
from tests.unit.history.nodes import Node
from tests.unit.history.origins import ROOM, Writer

ORIGINS = 5
DIFFERENCES = 100
LAST = 1000
BATCH = 40
START_MS = 1_700_000_000_000
STEP_MS = 1000
LINE = "Romeo, Romeo, wherefore art thou Romeo? Deny thy father and refuse thy name"


class Case(NamedTuple):
    """What differs, and what it may cost to find out."""

    name: str
    rounds: int
    bytes: int
    without_payload: bool
    """Count what is said beside batches and proofs."""
    fill: Callable[[Node, Node, int], None]
    now_ms: int = START_MS + MAX_SET * STEP_MS

    def nodes(self, entries: int) -> tuple[Node, Node]:
        """Two replicas, of which the first speaks first, with so many entries between them."""
        one, other = sorted((Node("anna"), Node("bert")), key=lambda node: node.origin)
        self.fill(one, other, entries)
        for node in (one, other):
            node.restart()
        return one, other


def written(entries: int, writers: list[Writer]) -> Iterator[Batch]:
    """So many entries in batches, the writers in turn."""
    at = 0
    while at < entries:
        writer = writers[at // BATCH % len(writers)]
        writer.ms = START_MS + at * STEP_MS
        count = min(BATCH, entries - at)
        yield writer.say(*[f"{LINE} {number}" for number in range(at, at + count)])
        at += count


def put(batch: Batch, *nodes: Node) -> None:
    """Into the stores, past the logs: what is tested comes later."""
    known = ids(batch)
    for node in nodes:
        node.store.put(batch, known)


def writers(count: int = ORIGINS) -> list[Writer]:
    return [Writer(f"writer {number}") for number in range(count)]


def identical(one: Node, other: Node, entries: int) -> None:
    for batch in written(entries, writers()):
        put(batch, one, other)


def one_missing(one: Node, other: Node, entries: int) -> None:
    identical(one, other, entries)
    origin = next(iter(one.store.spans(ROOM.id)))
    drop(one, origin, entries // ORIGINS // 2)


def last_1000(one: Node, other: Node, entries: int) -> None:
    said = list(written(entries, writers()))
    for batch in said[: -(LAST // BATCH)]:
        put(batch, one, other)
    for batch in said[-(LAST // BATCH) :]:
        put(batch, other)


def known_gaps(one: Node, other: Node, entries: int) -> None:
    identical(one, other, entries)
    choice = random.Random(1)
    spans = one.store.spans(ROOM.id)
    places = [(origin, seq) for origin in sorted(spans) for seq in range(1, spans[origin][0].last)]
    for number, (origin, seq) in enumerate(choice.sample(places, 2 * DIFFERENCES)):
        drop((one, other)[number % 2], origin, seq)


def scattered(one: Node, other: Node, entries: int) -> None:
    *busy, seldom = writers()
    said = list(written(entries - 2 * DIFFERENCES, busy))
    step_ms = entries * STEP_MS // (2 * DIFFERENCES)
    for batch in said:
        put(batch, one, other)
    liar = seldom
    for number in range(2 * DIFFERENCES):
        if number == DIFFERENCES:
            liar = seldom.other()
        seldom.ms = liar.ms = START_MS + number * step_ms
        batch = seldom.say(f"line {number}")
        put(batch, one)
        put(batch if liar is seldom else liar.say(f"another line {number}"), other)


def drop(node: Node, origin: bytes, seq: int) -> None:
    assert isinstance(node.store, MemoryStore)
    node.store.drop(ROOM.id, origin, seq, seq)  # type: ignore[arg-type]


CASES = {
    case.name: case
    for case in (
        Case("identical", 1, 64 + 12 * ORIGINS, False, identical),
        Case("one missing", 2, 500, False, one_missing),
        Case("last 1,000", 1, 200, True, last_1000),
        Case("scattered", 2, 8000, True, scattered),
        Case("known gaps", 2, 8000, True, known_gaps),
    )
}
