"""What can move from a process to its successor: connections with their owners, and the parts that all of them share.

A worker's predecessor and successor live at the same time for a moment (docs/reference/hand-over.md):

    predecessor                                                          successor
      serves         SharedPart.begin()        - bytes, descriptors -►   SharedPart.restore()
                     Connection.export() and Owner.export()         -►   restorers: a Connection and its Owner, asleep
                     SharedPart.catch_up()                          -►   SharedPart.restore()
      freeze         SharedPart.freeze(), settled()
                     what has changed since, once more              -►   replaces what came before
                     SharedPart.export()                            -►   SharedPart.restore()
      COMMIT ---------------------------------------------------------► says TAKEN, then:
      ◄---------------------------------------------------------- TAKEN    SharedPart.activate(), as registered
      leaves         Connection.leave(), Owner.leave(),                    Connection.activate(), Owner.activate()
                     SharedPart.leave()                                    SharedPart.go_on()

Until TAKEN the predecessor can go on as if nothing had happened (`SharedPart.thaw`), so nothing in `export` may change
what it describes, and nothing the successor does before `activate` may be noticed by anybody: no byte is read or sent,
no timer runs, no shutdown(2) is called on a socket, as both hold the same one. A restored thing that is not used after
all is told `leave`, as one that has moved: it closes its descriptors and says nothing to anybody.

Who writes the counter board is settled by COMMIT, too. The successor restores on a private board; at TAKEN the gauges
of that board replace those of the worker's own, and the counters stay. So `restore` counts gauges (streams open,
sessions bound) as if all began here, and counts no event.

Time in a record is CLOCK_MONOTONIC in milliseconds, which all processes of a machine share; how much of it has passed
is reckoned by whoever reads it.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import TYPE_CHECKING, TypeAlias

import msgspec

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from megaphone.dispatch.dispatcher import Connection, Owner

CHUNK_LIMIT_BYTES = 1024 * 1024  # of one chunk of a shared part
DESCRIPTORS_LIMIT = 250  # in one chunk: the kernel takes 253 in a message


class Moved(msgspec.Struct, array_like=True, frozen=True):
    """One thing as it is now: `kind` says who can restore it, `data` is that kind's own versioned record.

    The descriptors stay the exporter's; the other process gets its own, in this order.
    """

    kind: str
    data: bytes
    descriptors: tuple[int, ...] = ()


Chunk: TypeAlias = "tuple[bytes, Sequence[int]]"
# What the successor restores things with, by their kind; the worker registers them. All raise MoveError for a record
# they cannot use, and have closed its descriptors then. The connection has its id already when its owner is restored,
# and `connection.owner` is set by the caller.
RestoreConnection: TypeAlias = "Callable[[int, bytes, list[int]], Connection]"  # id, data, descriptors
RestoreOwner: TypeAlias = "Callable[[Connection, bytes, list[int]], Owner]"


class SharedPart(ABC):
    """Something of a worker that many connections share and that moves as a whole: links, the embedded service, a bus.

    The predecessor calls `begin`, `freeze`, `settled`, `export`, then `thaw` or `leave`; the successor `restore`,
    `activate`, `go_on`, or `leave`. Chunks arrive in order, and parts in the order in which they were registered.
    """

    name: str  # the same in every version

    def begin(self) -> Iterator[Chunk]:
        """Yield what can be said long before the freeze; each `next` is called in another turn of the loop."""
        return iter(())

    def catch_up(self) -> Iterator[Chunk]:
        """Yield what has changed since `begin`, right before the freeze, in turns of the loop: less is left for it."""
        return iter(())

    def give_up(self) -> None:  # noqa: B027
        """Nothing comes of it, whether there was a freeze (and a thaw) or not: forget what was noted since `begin`."""

    def freeze(self) -> None:  # noqa: B027 - most have nothing to do
        """Change nothing from now on: no reading, no timers, no new work. The poller stands still already."""

    async def settled(self) -> None:  # noqa: B027
        """Wait until nothing of this part is under way elsewhere: threads, writes to the database.

        Whoever waits for it gives up after some seconds, and the hand-over with it.
        """

    @abstractmethod
    def export(self) -> Iterator[Chunk]:
        """Yield what the successor has to know, or what has changed since `begin`: chunks within the limits above."""

    def thaw(self) -> None:  # noqa: B027
        """Go on after `freeze`: the successor has failed."""

    def leave(self) -> None:  # noqa: B027
        """Close the descriptors that have moved, or were never used, without a word to anybody."""

    @abstractmethod
    def restore(self, data: bytes, descriptors: list[int]) -> None:
        """Take one chunk; the descriptors are ours. MoveError, and the hand-over fails, if it cannot be used."""

    def activate(self) -> None:  # noqa: B027
        """Be what was restored, before any connection is there; OSError or MoveError would be a crash."""

    def go_on(self) -> None:  # noqa: B027
        """All connections are there: read, send, run timers."""
