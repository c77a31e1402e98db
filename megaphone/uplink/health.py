"""Health checks: opens an XMPP stream to each upstream, as a client would, and waits for its features."""

from __future__ import annotations

import asyncio
import contextlib
import random
import socket
import time
from typing import TYPE_CHECKING

from megaphone.dispatch.counters import Board, UpstreamSlot
from megaphone.wire.framer import Element, Event, StreamFramer
from megaphone.wire.proxy_protocol import V2_SIGNATURE

if TYPE_CHECKING:
    from collections.abc import Callable

    from megaphone.config.schema import Health
    from megaphone.uplink.pool import Pool, Upstream

_FIRST_STREAM = (
    b"<?xml version='1.0'?><stream:stream xmlns='jabber:client' xmlns:stream='http://etherx.jabber.org/streams'"
    b" to='%b' version='1.0'>"
)
# Version 2, LOCAL: "this is the proxy itself". It carries one NOOP field, because ejabberd reads a header of no length
# with a call that takes whatever else has arrived, our stream header included.
_PROXY_LOCAL = V2_SIGNATURE + b"\x20\x00\x00\x03" + b"\x04\x00\x00"
_READ_BYTES = 4096
_ANSWER_LIMIT_BYTES = 65_536


class Unhealthy(Exception):  # noqa: N818 - a finding, not a fault of ours
    """What an upstream did instead of opening a stream."""


async def check(upstream: Upstream, domain: str) -> None:
    """Open a stream for `domain` and wait for its features (RFC 6120 section 4.3.2); Unhealthy or OSError if not."""
    loop = asyncio.get_running_loop()
    with socket.socket(upstream.family, socket.SOCK_STREAM | socket.SOCK_NONBLOCK) as sock:
        await loop.sock_connect(sock, upstream.address)
        # in one write with the first bytes: a silent peer would hold up ejabberd's acceptor
        proxy = _PROXY_LOCAL if upstream.proxy_protocol else b""
        await loop.sock_sendall(sock, proxy + _FIRST_STREAM % domain.encode())
        framer = StreamFramer(stanza_bytes=_ANSWER_LIMIT_BYTES)
        while True:
            data = await loop.sock_recv(sock, _READ_BYTES)
            if not data:
                raise Unhealthy("closed without stream features")
            if _has_features(framer, data):
                with contextlib.suppress(OSError):
                    await loop.sock_sendall(sock, b"</stream:stream>")
                return


def _has_features(framer: StreamFramer, data: bytes) -> bool:
    while data:
        event, offset, detail, _, _ = framer.scan(data)
        if event is Event.ERROR or event is Event.STREAM_END:
            raise Unhealthy("did not open an XMPP stream")
        if event is Event.STANZA:
            if detail is Element.FEATURES_ELEMENT:
                return True
            if detail is Element.STREAM_ERROR_ELEMENT:
                raise Unhealthy("answered with a stream error")
        data = data[offset:]
    return False


class HealthChecks:
    """One task per upstream; `changed(upstream, reason)` is called when an upstream comes (reason "") or goes."""

    def __init__(self, pool: Pool, board: Board, health: Health, changed: Callable[[Upstream, str], None]) -> None:
        self._pool = pool
        self._board = board
        self._changed = changed
        self.health = health
        self._tasks: list[asyncio.Task[None]] = []

    def start(self) -> None:
        """Start checking, each upstream at a random moment of the interval after the first check."""
        self._tasks += [
            asyncio.create_task(self._watch(upstream))
            for upstream in self._pool.upstreams
            if upstream.mode == "direct"  # links are their own health check
        ]

    async def stop(self) -> None:
        """End all checks."""
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        self._tasks.clear()

    async def _pause(self) -> None:
        await asyncio.sleep(self.health.interval_seconds * random.uniform(0.8, 1.2))  # noqa: S311 - only spreads load

    async def _watch(self, upstream: Upstream) -> None:
        good = bad = 0
        slot = Board.upstream_slot
        while True:
            # asked each time: a reload may give the upstream its first domain, or take its last
            domain = next((name for name, serving in self._pool.domains.items() if upstream in serving), None)
            if domain is None:
                await self._pause()
                continue
            began = time.monotonic_ns()
            try:
                async with asyncio.timeout(self.health.timeout_seconds):
                    await check(upstream, domain)
            except (OSError, Unhealthy, TimeoutError) as error:
                good, bad = 0, bad + 1
                self._board.add(slot(upstream.index, UpstreamSlot.UP_CHECKS_FAILED), 1)
                if upstream.healthy and bad >= self.health.fall:
                    self._pool.mark(upstream, healthy=False)
                    self._changed(upstream, str(error) or "no answer in time")
            else:
                good, bad = good + 1, 0
                self._board.add(slot(upstream.index, UpstreamSlot.UP_CHECKS_OK), 1)
                self._board.set(slot(upstream.index, UpstreamSlot.UP_CHECK_NS), time.monotonic_ns() - began)
                if upstream.healthy:
                    self._pool.mark(upstream, healthy=True)
                elif good >= self.health.rise:
                    self._pool.mark(upstream, healthy=True)
                    self._changed(upstream, "")
            await self._pause()
