"""An exchange whose answer is written down: what a route answers, without a connection."""

from collections.abc import Callable, Iterable, Mapping

from megaphone.web.exchange import MessageConnection, Messages, Request


class Recorded:
    """One request without a body, and what was answered."""

    def __init__(self, method: str, path: str, headers: Mapping[bytes, bytes], *, host: str = "chat.example") -> None:
        address = b"\0" * 10 + b"\xff\xff\x7f\0\0\1"
        self.request = Request(method, path, "", tuple(headers.items()), b"", address, True, host)
        self.on_gone: Callable[[], None] | None = None
        self.status = 0
        self.fields: dict[bytes, bytes] = {}
        self.body = b""

    @property
    def answered(self) -> bool:
        return self.status != 0

    def answer(self, status: int, headers: Iterable[tuple[bytes, bytes]] = (), body: bytes | memoryview = b"") -> None:
        assert not self.answered
        self.status, self.fields, self.body = status, dict(headers), bytes(body)

    def open_messages(
        self, subscriber: Messages, *, message_bytes: int, protocol: bytes | None = None
    ) -> MessageConnection | None:
        raise AssertionError("no WebSocket was asked for")
