"""Viewers of an ephemeral page as the browser has them, by the thousand: Phoenix channels (vsn 2.0.0) over picows.

want:<hash>  phx_join, content_request ... content ─► its hash is checked ─► phx_leave
have:<hash>  phx_join; from then on content_request ─► content
"""

import asyncio
import hashlib
import json
import time
from collections.abc import Awaitable
from dataclasses import dataclass, field
from typing import Any

import picows

ANSWER_SECONDS = 2.0  # a visitor asks again after that, as the seed's page does
WAIT_SECONDS = 60.0


def name_of(content: str) -> str:
    """The page's name, which is all that a visitor has to know."""
    return hashlib.sha256(content.encode()).hexdigest()


@dataclass(slots=True)
class Traffic:
    """Messages and their bytes in both directions; asks that were not answered in time, and those that were."""

    messages: int = 0
    message_bytes: int = 0
    contents: int = 0  # sent by holders
    late: int = 0
    waits: list[float] = field(default_factory=list)


class Viewer(picows.WSListener):  # type: ignore[misc, unused-ignore]
    """One window."""

    def __init__(self, page: str, traffic: Traffic, content: str | None = None) -> None:
        self.page = page
        self.traffic = traffic
        self.content = content
        self.connected = asyncio.Event()
        self.answered = asyncio.Event()
        self.holds = asyncio.Event()
        self.transport: Any = None
        self._wants, self._has = f"want:{page}", f"have:{page}"
        self._number = 0
        self._joins: dict[str, str] = {}

    # --- what it says ------------------------------------------------------------

    async def request(self) -> None:
        """Want the page, ask until it comes (`content` is it then), and let the wish go."""
        begun = time.monotonic()
        self.answered.clear()
        self._join(self._wants)
        self._say(self._wants, "content_request", {"hash": self.page})
        while True:
            try:
                await asyncio.wait_for(self.answered.wait(), ANSWER_SECONDS)
                break
            except TimeoutError:
                self.traffic.late += 1
                self._say(self._wants, "content_request", {"hash": self.page})
        self.traffic.waits.append(time.monotonic() - begun)
        self._say(self._wants, "phx_leave", {})

    async def hold(self) -> None:
        """Hold the page from now on."""
        self._join(self._has)
        await asyncio.wait_for(self.holds.wait(), WAIT_SECONDS)

    async def view(self) -> None:
        """What a visitor does."""
        await self.request()
        await self.hold()

    def vanish(self) -> None:
        """The window is closed: no goodbye."""
        self.transport.disconnect(False)

    def _join(self, topic: str) -> None:
        self._number += 1
        self._joins[topic] = str(self._number)
        self._send([str(self._number), str(self._number), topic, "phx_join", {}])

    def _say(self, topic: str, event: str, payload: dict[str, Any]) -> None:
        self._number += 1
        self._send([self._joins[topic], str(self._number), topic, event, payload])

    def _send(self, row: list[Any]) -> None:
        data = json.dumps(row).encode()
        self.traffic.messages += 1
        self.traffic.message_bytes += len(data)
        self.transport.send(picows.WSMsgType.TEXT, data)

    # --- what it hears ------------------------------------------------------------

    def on_ws_connected(self, transport: Any) -> None:
        self.transport = transport
        self.connected.set()

    def on_ws_frame(self, transport: Any, frame: Any) -> None:
        if frame.msg_type != picows.WSMsgType.TEXT:
            return
        text = frame.get_payload_as_utf8_text()
        self.traffic.messages += 1
        self.traffic.message_bytes += len(text.encode())
        _, _, topic, event, payload = json.loads(text)
        if event == "content_request" and topic == self._has:
            self.traffic.contents += 1
            self._say(self._has, "content", {"content": self.content, "hash": self.page})
        elif event == "content" and topic == self._wants:
            if name_of(payload["content"]) != self.page:
                raise RuntimeError("this is another page")
            self.content = payload["content"]
            self.answered.set()
        elif event == "phx_reply":
            if payload["status"] != "ok":
                raise RuntimeError(f"{topic} is refused: {payload}")
            if topic == self._has:
                self.holds.set()


async def come(url: str, viewers: list[Viewer], at_once: int = 64) -> None:
    """Connect them all."""
    gate = asyncio.Semaphore(at_once)

    async def connect(viewer: Viewer) -> None:
        async with gate:
            await picows.ws_connect(lambda: viewer, url)

    await all_of(*map(connect, viewers))


async def all_of(*deeds: Awaitable[object]) -> None:
    """Do all; TimeoutError if that takes too long."""
    async with asyncio.timeout(WAIT_SECONDS):
        await asyncio.gather(*deeds)
