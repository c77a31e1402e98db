"""`make bench WHAT=history`: what it takes two replicas of a room to become the same: bytes, rounds, CPU time.

The cases are those of `history_sets.py`, in rooms of 10,000, 100,000 and a million entries. A round is a question and
its answer; a last word that nobody answers is none. Bytes are those of all messages, save where it says "beside
entries": there without the encoded batches and proofs. CPU time is that of both replicas together, in this one process,
with their entries in memory. How quickly entries are appended to a store on disk is `history_storage.py`'s.

Beside it stand figures of Negentropy's reference implementation, which is not run here (`history_negentropy.py`). Its
sets have no feeds: it has to find out by asking what heads say here. Only the row of scattered differences compares
like with like.
"""

import gc
import time

from tests.bench import history_negentropy as negentropy
from tests.bench import history_storage
from tests.bench.history_sets import CASES, ORIGINS, Case
from tests.bench.measure import run
from tests.bench.report.figure import OURS, Figure, Target
from tests.bench.report.report import Report, arguments
from tests.unit.history.nodes import Node, connected, same

SIZES = (10_000, 100_000, 1_000_000)
NEGENTROPY = "Negentropy"
STORAGE_ROUNDS = 5


def name_of(size: int) -> str:
    """As it is read."""
    return f"{size // 1_000_000} M" if size >= 1_000_000 else f"{size // 1000} k"


def sync(case: Case, one: Node, other: Node) -> tuple[int, int, float]:
    """Bytes, rounds and milliseconds of CPU of one sync; RuntimeError if it does not end as it should."""
    gc.collect()
    gc.freeze()
    begun = time.thread_time_ns()
    link = connected(one, other, case.now_ms)
    rounds = link.run(case.now_ms)
    spent_ms = (time.thread_time_ns() - begun) / 1e6
    gc.unfreeze()
    if not same(one, other) or not all(each.is_settled(one.log.room) for each in link.conversations.values()):
        raise RuntimeError(f"{case.name}: they are not the same")
    return link.total_bytes - (link.payload_bytes if case.without_payload else 0), rounds, spent_ms


def figures(sizes: tuple[int, ...]) -> dict[tuple[str, int], tuple[Figure, Figure, Figure]]:
    """Of each case and size: bytes, rounds, CPU time."""
    found = {}
    for size in sizes:
        for case in CASES.values():
            what = f"{case.name}, {name_of(size)}"
            beside = ", beside entries" if case.without_payload else ""
            detail = size != sizes[-1]
            found[case.name, size] = (
                Figure(
                    f"{what}: bytes{beside}",
                    "B",
                    Target("value", case.bytes),
                    digits=0,
                    peers=(NEGENTROPY,),
                    detail=detail,
                ),
                Figure(
                    f"{what}: rounds", "", Target("value", case.rounds), digits=0, peers=(NEGENTROPY,), detail=detail
                ),
                Figure(f"{what}: CPU of both", "ms", digits=1, peers=(), detail=True),
            )
    return found


def main() -> None:
    """Measure and print."""
    parser = arguments("history", __doc__, rounds=1)
    parser.add_argument("--largest", type=int, default=SIZES[-1], help="leave out larger rooms; default: %(default)s")
    args = parser.parse_args()
    sizes = tuple(size for size in SIZES if size <= args.largest) or SIZES[:1]
    with Report("history", parser, args) as report:
        found = figures(sizes)
        for _ in range(args.rounds):
            for (name, size), (bytes_, rounds, cpu) in found.items():
                one, other = CASES[name].nodes(size)
                for figure, value in zip((bytes_, rounds, cpu), sync(CASES[name], one, other), strict=True):
                    figure.add(OURS, value)
                for figure, value in zip((bytes_, rounds), negentropy.figures(name, size), strict=False):
                    figure.add(NEGENTROPY, value)
                del one, other
        settings = {"rounds": args.rounds, "origins": ORIGINS, "sizes": list(sizes)}
        title = "Two replicas of a room become the same"
        rows = [figure for three in found.values() for figure in three]
        report.add("history-sync", title, [OURS, NEGENTROPY], rows, settings, layout="rows")
        report.add(
            "history-storage",
            "Entries appended to a history on disk",
            [OURS],
            history_storage.figures(STORAGE_ROUNDS),
            {"rounds": STORAGE_ROUNDS, **history_storage.settings()},
        )


if __name__ == "__main__":
    run(main)
