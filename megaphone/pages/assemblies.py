"""The contents that are coming in parts: together they have a limit, and none may take long."""

from __future__ import annotations

from typing import TYPE_CHECKING

from megaphone.pages.content import Assembly

if TYPE_CHECKING:
    from megaphone.pages.page import Channel

ASSEMBLY_SECONDS = 20.0
ASSEMBLIES_BYTES = 67_108_864


class Assemblies:
    """Those of one worker. Of too many, those that began first are given up."""

    def __init__(self, limit_bytes: int = ASSEMBLIES_BYTES) -> None:
        self._limit_bytes = limit_bytes
        self._begun: dict[Channel, float] = {}  # in the order they began
        self.bytes = 0

    def add(self, channel: Channel, index: int, count: int, part: str, page_bytes: int, now: float) -> str | None:
        """Take the next part of what a holder says; the whole with the last one. ValueError if it makes none."""
        if channel.assembly is None or index == 0:
            self.drop(channel)
            channel.assembly = Assembly(page_bytes)
            self._begun[channel] = now
        before = channel.assembly.bytes
        try:
            whole = channel.assembly.add(index, count, part)
        except ValueError:
            self.bytes -= before
            channel.assembly.bytes = 0
            self.drop(channel)
            raise
        self.bytes += channel.assembly.bytes - before
        if whole is not None:
            self.drop(channel)
        while self._begun:
            first, begun = next(iter(self._begun.items()))
            if self.bytes <= self._limit_bytes and now - begun <= ASSEMBLY_SECONDS:
                break
            self.drop(first)
        return whole

    def drop(self, channel: Channel) -> None:
        """Forget the parts of a channel, if there are any."""
        if channel.assembly is not None:
            self.bytes -= channel.assembly.bytes
            channel.assembly = None
        self._begun.pop(channel, None)
