"""The requests of one worker that are under way: who may still answer each, and when its time is over."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

from megaphone.bus.ports import NoAnswer, NobodyThere

if TYPE_CHECKING:
    from collections.abc import Callable

    from megaphone.bus.ports import Answer

ID_BYTES = 8


class Responder:
    """Takes one process's answer to a request, once; `send` tells whether it could be sent."""

    __slots__ = ("_done", "_send")

    def __init__(self, send: Callable[[bytes], bool]) -> None:
        self._send = send
        self._done = False

    def __call__(self, payload: bytes) -> bool:
        """Answer; False if it has been, or cannot be."""
        if not self._done:
            self._done = self._send(payload)
            return self._done
        return False


class _Request:
    """`asked` are the workers that may still answer; `maybe_done`: another was asked, and went without an answer."""

    __slots__ = ("answered", "asked", "deadline", "maybe_done", "timeout_seconds")

    def __init__(self, timeout_seconds: float, answered: Callable[[Answer], None]) -> None:
        self.asked: set[int] = set()
        self.timeout_seconds = timeout_seconds
        self.answered = answered
        self.deadline: float | None = None  # set by the first sweep
        self.maybe_done = False


class Requests:
    """At most `limit` requests; `fault` is told of what raises when it is answered."""

    def __init__(self, limit: int, fault: Callable[[Exception], None]) -> None:
        self._limit = limit
        self._fault = fault
        self._requests: dict[bytes, _Request] = {}
        # a process must not take the answers to its predecessor's requests for its own
        self._last_id = int.from_bytes(os.urandom(ID_BYTES), "big")

    def __len__(self) -> int:
        return len(self._requests)

    def __contains__(self, request_id: bytes) -> bool:
        return request_id in self._requests

    def add(self, timeout_seconds: float, answered: Callable[[Answer], None]) -> bytes | None:
        """Return the id of a new request; None if there are too many."""
        if len(self._requests) >= self._limit:
            return None
        self._last_id = (self._last_id + 1) % 2 ** (8 * ID_BYTES)
        request_id = self._last_id.to_bytes(ID_BYTES, "big")
        self._requests[request_id] = _Request(timeout_seconds, answered)
        return request_id

    def drop_unasked(self, request_id: bytes) -> bool:
        """Forget a request that no worker could be sent; whether it was so."""
        if self._requests[request_id].asked:
            return False
        del self._requests[request_id]
        return True

    def ask(self, request_id: bytes, worker: int) -> None:
        """Note that this worker may answer."""
        self._requests[request_id].asked.add(worker)

    def take_back(self, request_id: bytes, worker: int) -> None:
        """Note that it could not be sent to this worker."""
        self._requests[request_id].asked.discard(worker)

    def asks(self, request_id: bytes, worker: int) -> bool:
        """Whether this worker may still answer."""
        request = self._requests.get(request_id)
        return request is not None and worker in request.asked

    def asked_of(self, worker: int) -> list[bytes]:
        """Return the ids of all requests that this worker may answer."""
        return [request_id for request_id, request in self._requests.items() if worker in request.asked]

    def answer(self, request_id: bytes, answer: Answer) -> None:
        """End a request, unless it has ended."""
        request = self._requests.pop(request_id, None)
        if request is not None:
            try:
                request.answered(answer)
            except Exception as error:  # noqa: BLE001 - the trouble of who asked is not that of others
                self._fault(error)

    def cannot_answer(self, request_id: bytes, worker: int, *, maybe_done: bool) -> None:
        """Ask this worker no longer; end the request if it was the last."""
        if self.asks(request_id, worker):
            request = self._requests[request_id]
            request.asked.discard(worker)
            request.maybe_done = request.maybe_done or maybe_done
            if not request.asked:
                self.answer(request_id, NobodyThere(asked=request.maybe_done))

    def sweep(self, now: float) -> None:
        """End those whose time is over; it counts from the first sweep after each: never early, late by one sweep."""
        over = []
        for request_id, request in self._requests.items():
            if request.deadline is None:
                request.deadline = now + request.timeout_seconds
            elif request.deadline <= now:
                over.append(request_id)
        for request_id in over:
            self.answer(request_id, NoAnswer())
