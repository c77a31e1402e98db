"""Requests of BOSH sessions that another worker has: passed on over the node's bus, and answered the same way.

    bosh.<worker>.requests   MessagePack: worker that asks, number, address, body    asked; b"" = held, else the answer
    bosh.<worker>.answers    MessagePack: number, whether it is the last piece, piece of the answer
    bosh.<worker>.gone       MessagePack: worker that asked, number                  nobody waits for it any more
    bosh.begun               MessagePack: worker                                     another process goes on there

A request is held for as long as a minute, which no request of the bus is: its answer comes as a message of its own, in
pieces if it is long. Sessions and who waits for them stay with their process when a worker is replaced, while its
sockets to the others move on (bus.moving): what was held on either side is over when a process says that it has begun.
"""

from __future__ import annotations

import secrets
from typing import TYPE_CHECKING, Final

import msgspec

from megaphone.bus.ports import NoAnswer, NobodyThere
from megaphone.stream.bosh_body import terminal_body

if TYPE_CHECKING:
    import asyncio
    from collections.abc import Callable

    from megaphone.bus.ports import Answer, Message
    from megaphone.bus.subjects import Subjects
    from megaphone.stream.bosh_terms import BoshLimits

    TakePassedOn = Callable[[bytes, bytes, Callable[[bytes], None]], Callable[[], None] | None]

ASKED_LIMIT: Final = 16_384  # requests of ours that other workers have not answered
TAKE_SECONDS: Final = 5.0  # for another worker to say that it holds a request
SLACK_SECONDS: Final = 10.0  # beyond the time that a request is held
PIECE_BYTES: Final = 262_144
ANSWER_LIMIT_BYTES: Final = 16_777_216

_encode = msgspec.msgpack.encode
_decode = msgspec.msgpack.Decoder
_request = _decode(tuple[int, int, bytes, bytes]).decode
_answer = _decode(tuple[int, bool, bytes]).decode
_gone = _decode(tuple[int, int]).decode
_begun = _decode(int).decode


class _Asked:
    __slots__ = ("answered", "held", "pieces", "size", "timer", "worker")

    def __init__(self, worker: int, answered: Callable[[bytes | None], None], timer: asyncio.TimerHandle) -> None:
        self.worker = worker
        self.answered = answered
        self.timer = timer
        self.held = False  # which that worker has said
        self.pieces: list[bytes] = []
        self.size = 0


class BoshBus:
    """What worker `index` and the others ask each other. `take` takes what they pass on (Bosh)."""

    def __init__(self, bus: Subjects, loop: asyncio.AbstractEventLoop, index: int, take: TakePassedOn) -> None:
        self._bus = bus
        self._loop = loop
        self._index = index
        self._take = take
        self._asked: dict[int, _Asked] = {}
        self._held: dict[tuple[int, int], Callable[[], None] | None] = {}  # (worker, number): if its client goes away
        # an answer to the process before this one must not be taken for one to us
        self._last_number = secrets.randbits(31) << 32
        bus.subscribe(f"bosh.{index}.requests", self._hear_request)
        bus.subscribe(f"bosh.{index}.answers", self._hear_answer)
        bus.subscribe(f"bosh.{index}.gone", self._hear_gone)
        bus.subscribe("bosh.begun", self._hear_begun)
        bus.on_peer_lost.append(self._lose)

    def begin(self) -> None:
        """Say that this process serves now, before it asks or holds anything."""
        self._bus.publish("bosh.begun", _encode(self._index))

    # --- the worker that a request came to ------------------------------------------------------------

    def ask(
        self, worker: int, address: bytes, text: bytes, limits: BoshLimits, answered: Callable[[bytes | None], None]
    ) -> int | None:
        """Pass a request on; `answered` is called once, with None if there is no answer. None: it has been called."""
        if len(self._asked) >= ASKED_LIMIT:
            answered(None)
            return None
        self._last_number = number = self._last_number + 1
        seconds = limits.wait + SLACK_SECONDS  # a session that lives has answered by then
        self._asked[number] = _Asked(worker, answered, self._loop.call_later(seconds, self._settle, number, None))
        payload = _encode((self._index, number, address, text))
        if not self._bus.request(
            f"bosh.{worker}.requests", payload, TAKE_SECONDS, lambda answer: self._taken(number, answer)
        ):
            self._settle(number, None)
            return None
        return number

    def give_up(self, worker: int, number: int) -> None:
        """Nobody waits for the answer any more."""
        asked = self._asked.pop(number, None)
        if asked is not None:
            asked.timer.cancel()
            self._bus.publish(f"bosh.{worker}.gone", _encode((self._index, number)))

    def _taken(self, number: int, answer: Answer) -> None:
        if isinstance(answer, NobodyThere):
            # the worker that had the session has died, and its sessions with it
            self._settle(number, terminal_body("item-not-found"))
        elif isinstance(answer, NoAnswer):
            self._settle(number, None)
        elif answer:
            self._settle(number, answer)
        elif (asked := self._asked.get(number)) is not None:
            asked.held = True

    def _hear_answer(self, message: Message) -> None:
        number, last, piece = _answer(message.payload)
        asked = self._asked.get(number)
        if asked is None:
            return
        asked.pieces.append(piece)
        asked.size += len(piece)
        if last or asked.size > ANSWER_LIMIT_BYTES:
            self._settle(number, b"".join(asked.pieces) if last else None)

    def _settle(self, number: int, answer: bytes | None) -> None:
        asked = self._asked.pop(number, None)
        if asked is not None:
            asked.timer.cancel()
            asked.answered(answer)

    # --- the worker that has the session ------------------------------------------------------------

    def _hear_request(self, message: Message) -> bytes:
        worker, number, address, text = _request(message.payload)
        at_once: list[bytes] = []
        taking = True

        def answer(body: bytes) -> None:
            self._held.pop((worker, number), None)
            if taking and len(body) <= PIECE_BYTES:
                at_once.append(body)
            else:
                self._say(worker, number, body)

        self._held[worker, number] = None
        gone = self._take(address, text, answer)
        taking = False
        if (worker, number) in self._held:
            self._held[worker, number] = gone
        return at_once[0] if at_once else b""

    def _say(self, worker: int, number: int, body: bytes) -> None:
        for begin in range(0, len(body), PIECE_BYTES):
            last = begin + PIECE_BYTES >= len(body)
            payload = _encode((number, last, body[begin : begin + PIECE_BYTES]))
            if not self._bus.publish(f"bosh.{worker}.answers", payload):
                return  # too much waits for that worker: its client asks again

    def _hear_gone(self, message: Message) -> None:
        self._drop(_gone(message.payload))

    def _drop(self, key: tuple[int, int]) -> None:
        gone = self._held.pop(key, None)
        if gone is not None:
            gone()

    # --- another process in a worker's place ------------------------------------------------------------

    def _hear_begun(self, message: Message) -> None:
        worker = _begun(message.payload)
        if worker != self._index:
            self._lose(worker)

    def _lose(self, worker: int) -> None:
        """The process that this worker was has ended, with its sessions and its clients' requests.

        What it has not said to hold is answered by the bus: by the next process, or with NobodyThere.
        """
        for number in [number for number, asked in self._asked.items() if asked.worker == worker and asked.held]:
            self._settle(number, terminal_body("item-not-found"))
        for key in [key for key in self._held if key[0] == worker]:
            self._drop(key)
