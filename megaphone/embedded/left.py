"""Stands in for the host when another process has taken over: connections that stayed end, and nobody hears of it."""

from __future__ import annotations

from typing import TYPE_CHECKING

from megaphone.dispatch.counters import Reason

if TYPE_CHECKING:
    from megaphone.dispatch.dispatcher import Connection
    from megaphone.embedded.stream import EmbeddedStream


class Left:
    """The callbacks of streams whose service is elsewhere: what their clients say now they will say again there."""

    def take_stanza(self, stream: EmbeddedStream, element: int, data: bytes) -> None:
        """Take nothing."""

    def take_header(self, stream: EmbeddedStream, data: bytes) -> None:
        """Take nothing."""

    take_element = take_header

    def take_stream_end(self, stream: EmbeddedStream) -> None:
        """Let it end."""
        stream.end("", Reason.CLIENT_CLOSED)

    def take_client_end(self, stream: EmbeddedStream, said_goodbye: bool) -> None:
        """Let it end."""
        stream.end("", Reason.CLIENT_CLOSED)

    def take_gone(self, stream: EmbeddedStream, reason: int) -> None:
        """Its session is elsewhere, where it has been missed."""

    def take_overflow(self, stream: EmbeddedStream) -> None:
        """It is ending anyway."""

    def queue(self, stream: EmbeddedStream, stanza: bytes) -> None:
        """Nothing is said here any more."""

    def ping(self, stream: EmbeddedStream) -> None:
        """It is ending anyway."""

    def end_turn(self, streams: list[EmbeddedStream]) -> None:
        """Nothing waits for that."""

    def export(self, stream: EmbeddedStream) -> None:
        """It stays."""

    def activate(self, stream: EmbeddedStream, connection: Connection) -> None:
        """Nothing begins here."""
