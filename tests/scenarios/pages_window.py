"""A window of ephemeral pages without a browser: Phoenix channels over a real WebSocket, honest or not."""

import hashlib
import json
import time
from typing import Any, Self

from websockets.sync.client import connect

ANSWER_SECONDS = 20.0


def page_of(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()


class PagesWindow:
    """One connection; `heard` is all that it was told, as [join_ref, ref, topic, event, payload]."""

    def __init__(self, url: str) -> None:
        self.heard: list[list[Any]] = []
        self.received_bytes = 0
        self._ref = 0
        self._answered = 0
        self._connection = connect(url, compression=None, max_size=None).__enter__()

    @property
    def local_port(self) -> int:
        """Its end of the connection, as the edge names it."""
        return int(self._connection.socket.getsockname()[1])

    def push(self, topic: str, event: str, payload: Any) -> str:
        self._ref += 1
        join = str(self._ref) if event == "phx_join" else None
        self._connection.send(json.dumps([join, str(self._ref), topic, event, payload]))
        return str(self._ref)

    def join(self, topic: str) -> Any:
        ref = self.push(topic, "phx_join", {})
        return self.until(lambda message: message[3] == "phx_reply" and message[1] == ref)[4]

    def have(self, text: str) -> Self:
        assert self.join(f"have:{page_of(text)}")["status"] == "ok"
        return self

    def want(self, page: str) -> Self:
        assert self.join(f"want:{page}")["status"] == "ok"
        self.push(f"want:{page}", "content_request", {"hash": page})
        return self

    def until(self, wanted: Any, seconds: float = ANSWER_SECONDS) -> list[Any]:
        """The next message that is wanted; AssertionError if there is none in time."""
        deadline = time.monotonic() + seconds
        while True:
            left = deadline - time.monotonic()
            assert left > 0, f"not said; heard {self.heard}"
            try:
                text = self._connection.recv(timeout=left)
            except TimeoutError:
                continue
            self.received_bytes += len(text)
            message = json.loads(text)
            self.heard.append(message)
            if wanted(message):
                return list(message)

    def event(self, event: str, seconds: float = ANSWER_SECONDS) -> Any:
        """The payload of the next such event."""
        return self.until(lambda message: message[3] == event, seconds)[4]

    def hears(self, event: str, seconds: float) -> bool:
        """Whether it is told so within this time."""
        try:
            self.event(event, seconds)
        except AssertionError:
            return False
        return True

    def settle(self) -> None:
        """Hear all that was said to it before now."""
        ref = self.push("phoenix", "heartbeat", {})
        self.until(lambda message: message[1] == ref)

    def until_count(self, count: int) -> None:
        """Return when the last that it was told is that so many view the page."""
        told = [message[4]["count"] for message in self.heard if message[3] == "visitors_count"]
        if told[-1:] != [count]:
            self.until(lambda message: message[3] == "visitors_count" and message[4]["count"] == count)

    def answer(self, text: str, page: str | None = None) -> None:
        """Wait for a request, and say that this is the page."""
        page = page or page_of(text)
        self.event("content_request")
        self.push(f"have:{page}", "content", {"content": text, "hash": page})

    def answer_all(self, text: str) -> int:
        """Say that this is the page as often as it was asked and has not answered so; how often that was."""
        self.settle()
        asked = sum(message[3] == "content_request" for message in self.heard) - self._answered
        for _ in range(asked):
            self.push(f"have:{page_of(text)}", "content", {"content": text, "hash": page_of(text)})
        self._answered += asked
        return asked

    def close(self) -> None:
        self._connection.close()
