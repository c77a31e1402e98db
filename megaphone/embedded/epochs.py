"""The lives of the workers of other nodes: each says its epoch on `w`, and what was said of a life before is over.

A worker says it when NATS comes, when another node joins, and when it is asked; at most 8 times a second.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import msgspec
from msgspec import Meta, Struct

from megaphone.bus.members import EPOCH_BYTES, NODE_KEY_BYTES
from megaphone.errors import BusError

if TYPE_CHECKING:
    from collections.abc import Callable

    from megaphone.bus.ports import Message
    from megaphone.embedded.nodes import Nodes

SUBJECT = "w"
WORKERS_LIMIT = 1024
_EARLY_LIMIT = 4096


class Hello(Struct, array_like=True, frozen=True, tag="hello"):
    """A worker says who it is; `asks`: the others say who they are."""

    node: Annotated[bytes, Meta(min_length=NODE_KEY_BYTES, max_length=NODE_KEY_BYTES)]
    worker: Annotated[int, Meta(ge=0, lt=WORKERS_LIMIT)]
    epoch: Annotated[bytes, Meta(min_length=EPOCH_BYTES, max_length=EPOCH_BYTES)]
    asks: bool = False


class Epochs:
    """The epochs that one worker has heard; `trouble` is told of what is none."""

    def __init__(self, nodes: Nodes, trouble: Callable[[Exception], None]) -> None:
        self.known: dict[tuple[str, int], bytes] = {}  # by node key and worker
        self.told: list[Callable[[str, int, bytes], None]] = []  # who is told of one that is new, in a turn
        self._nodes = nodes
        self._trouble = trouble
        self._early: dict[tuple[str, int], bytes] = {}  # of nodes that we do not see yet
        self._due = False
        self._asks = False  # ... and the others are to say theirs
        self._decoder = msgspec.msgpack.Decoder(Hello)
        nodes.subscribe(SUBJECT, self._take)

    def ask(self) -> None:
        """Say ours with the next `sweep`, and have the others say theirs."""
        self._due = self._asks = True

    def sweep(self) -> None:
        """Say ours if it is due."""
        nodes = self._nodes
        if self._due and nodes.up:
            hello = Hello(nodes.own.node_key, nodes.worker, nodes.epoch, self._asks)
            self._due = self._asks = False
            nodes.publish(SUBJECT, msgspec.msgpack.encode(hello))

    def joined(self, node: str) -> None:
        """A node is seen: what its workers have said before counts from now on."""
        for each in [each for each in self._early if each[0] == node]:
            self._know(*each, self._early.pop(each))
        self.ask()

    def left(self, node: str) -> None:
        """Its workers live no more."""
        for each in [each for each in self.known if each[0] == node]:
            del self.known[each]

    def _take(self, message: Message) -> None:
        try:
            hello = self._decoder.decode(message.payload)
        except msgspec.MsgspecError as error:
            self._trouble(BusError(f"not what a worker says: {error}"))
            return
        if hello.node == self._nodes.own.node_key:
            return  # of our own workers, which the local bus knows
        if hello.asks:
            self._due = True
        key = hello.node.hex()
        if key in self._nodes.members:
            self._know(key, hello.worker, hello.epoch)
        elif len(self._early) < _EARLY_LIMIT:
            self._early[key, hello.worker] = hello.epoch

    def _know(self, node: str, worker: int, epoch: bytes) -> None:
        if worker < self._nodes.workers(node) and self.known.get((node, worker)) != epoch:
            self.known[node, worker] = epoch
            for told in self.told:
                self._nodes.in_turn(told, node, worker, epoch)
