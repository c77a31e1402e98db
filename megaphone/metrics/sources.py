"""A metric, and where its samples come from: slots of the boards, added up or one by one."""

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Final, Literal

from megaphone.dispatch.counters import Board
from megaphone.metrics.facts import NodeFacts

NS: Final = 1e-9

Labels = tuple[str, ...]  # label values
Samples = Iterable[tuple[Labels, float]]
Slots = Mapping[Labels, int]  # which slot of the board each sample comes from


@dataclass(frozen=True, slots=True)
class OfNode:
    """Board slots added up over all workers (or the largest of them), by label values."""

    slots: Slots
    merge: Callable[[Iterable[int]], int] = sum

    def __call__(self, node: NodeFacts) -> Samples:
        """The samples of one scrape."""
        for labels, slot in self.slots.items():
            yield labels, self.merge([worker.board.get(slot) for worker in node.workers] or [0])


@dataclass(frozen=True, slots=True)
class OfWorker:
    """Board slots of each worker: its index, then further label values."""

    slots: Slots
    scale: float = 1
    measured_only: bool = False  # 0 says that nothing was measured, and gives no sample

    def __call__(self, node: NodeFacts) -> Samples:
        """The samples of one scrape."""
        for worker in node.workers:
            for labels, slot in self.slots.items():
                value = worker.board.get(slot)
                if value or not self.measured_only:
                    yield (str(worker.index), *labels), value * self.scale


@dataclass(frozen=True, slots=True)
class OfUpstream:
    """Slots of each upstream's block, merged over all workers: its name, then further label values."""

    slots: Slots
    merge: Callable[[Iterable[int]], int] = sum
    scale: float = 1

    def __call__(self, node: NodeFacts) -> Samples:
        """The samples of one scrape."""
        for index, name in enumerate(node.upstreams):
            for labels, slot in self.slots.items():
                values = [worker.board.get(Board.upstream_slot(index, slot)) for worker in node.workers]
                yield (name, *labels), self.merge(values or [0]) * self.scale


@dataclass(frozen=True, slots=True)
class OfAdmission:
    """Slots of the admission block of each upstream with links, added up over all workers: its name, then more."""

    slots: Slots
    scale: float = 1

    def __call__(self, node: NodeFacts) -> Samples:
        """The samples of one scrape."""
        for index, (name, links) in enumerate(zip(node.upstreams, node.links, strict=True)):
            for labels, slot in self.slots.items() if links else ():
                values = [worker.board.get(Board.admission_slot(index, slot)) for worker in node.workers]
                yield (name, *labels), sum(values) * self.scale


@dataclass(frozen=True, slots=True)
class OfLink:
    """Slots of each link's block: upstream, worker, number of the link, then further label values."""

    slots: Slots
    scale: float = 1

    def __call__(self, node: NodeFacts) -> Samples:
        """The samples of one scrape."""
        for index, (name, links) in enumerate(zip(node.upstreams, node.links, strict=True)):
            for worker in node.workers:
                for link in range(links):
                    for labels, slot in self.slots.items():
                        value = worker.board.get(Board.link_slot(index, link, slot))
                        yield (name, str(worker.index), str(link), *labels), value * self.scale


@dataclass(frozen=True, slots=True)
class Metric:
    """One line of the table."""

    name: str
    type: Literal["counter", "gauge", "histogram"]
    labels: tuple[str, ...]
    help: str
    samples: Callable[[NodeFacts], Samples]


def one_label(values: Mapping[str, float]) -> Samples:
    """One sample for each value of the only label."""
    return (((label,), value) for label, value in values.items())
