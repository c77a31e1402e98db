"""One visitor: the connection of one window, the topics it has joined, and what it may use."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from megaphone.pages.limits import Bucket, PageLimits
from megaphone.pages.phoenix import Version, encode

if TYPE_CHECKING:
    from megaphone.pages.page import Channel
    from megaphone.pages.ports import Connection


@dataclass(slots=True, eq=False)
class Counts:
    """What has been counted since the start; all but `visitors` only grow."""

    visitors: int = 0
    requests: int = 0  # content_request of visitors
    asks: int = 0  # content_request to holders, here or elsewhere
    hedges: int = 0  # of these: since the first owed its answer for too long
    served: int = 0  # contents brought to one who wants
    messages_in: int = 0
    messages_out: int = 0
    bytes_in: int = 0
    bytes_out: int = 0
    bad_hashes: int = 0
    refused: int = 0  # joins and requests beyond a limit


@dataclass(slots=True, eq=False)
class Visitor:
    """One connection; `network` is what its address counts as."""

    connection: Connection
    version: Version
    network: bytes
    counts: Counts
    messages: Bucket
    joins: Bucket
    requests: Bucket
    channels: dict[str, Channel] = field(default_factory=dict)
    lied: set[str] = field(default_factory=set)
    """The pages of which it has said something else; it cannot hold them any more."""
    gone: bool = False

    @classmethod
    def of(
        cls, connection: Connection, version: Version, network: bytes, counts: Counts, limits: PageLimits, now: float
    ) -> Visitor:
        """Return a visitor who has just come."""
        messages, joins = Bucket(limits.messages_per_second, now), Bucket(limits.joins_per_second, now)
        return cls(connection, version, network, counts, messages, joins, Bucket(limits.requests_per_second, now))

    def send(self, text: bytes) -> None:
        """Say this; nothing happens if it is gone."""
        if not self.gone and self.connection.send_text(text):
            self.counts.messages_out += 1
            self.counts.bytes_out += len(text)

    def push(self, channel: Channel, event: str, payload: Any, ref: str | None = None) -> None:
        """Say this on one of its topics."""
        self.send(encode(self.version, channel.topic, event, payload, ref, channel.join_ref))
