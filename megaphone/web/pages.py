"""Serves ephemeral pages: the page in the browser, its files, and the Phoenix channels at /ws/websocket.

    GET /                  write a page               GET /pages/...      scripts and styles
    GET /<64 hex digits>   show a page                GET /ws/websocket   channels (megaphone.pages)

Both pages are the same file: what a page says is not here, and comes over the channels.
"""

from __future__ import annotations

import asyncio
import re
import secrets
from importlib.resources import files
from math import inf
from typing import TYPE_CHECKING
from urllib.parse import parse_qs, urlsplit

from megaphone.pages.content import is_page
from megaphone.pages.limits import PageLimits
from megaphone.pages.pages import Pages
from megaphone.pages.phoenix import version_of
from megaphone.pages.sites import SITE_CHARACTERS
from megaphone.web.pages_sites import PagesSites
from megaphone.web.pages_socket import PagesSocket
from megaphone.web.routes import Route
from megaphone.web.static import answer_file, read_directory

if TYPE_CHECKING:
    from collections.abc import Sequence

    from megaphone.bus.ports import Bus
    from megaphone.config.schema import Pages as PagesTable
    from megaphone.web.exchange import Exchange, Request

FULL_SECONDS = 0.05  # after which a full outbox is looked at again
_QUERY_LIMIT = 2048
_HOST = re.compile(r"[a-z0-9.-]+(:[0-9]+)?|\[[0-9a-f:.]+\](:[0-9]+)?")

# The frame with a stranger's page inherits this policy (HTML: srcdoc documents do), and narrows it by its own: so
# inline styles are allowed, though our own page has none, and no frame may go anywhere, as there is no frame-src.
POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self' 'unsafe-inline'; img-src 'self' data:; font-src data:; "
    "media-src data:; connect-src 'self'{sockets}; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
)


class PagesService:
    """The pages of one worker. `buses` lead to other workers and nodes; `node` and `worker` name this one to them."""

    def __init__(
        self,
        loop: asyncio.AbstractEventLoop,
        table: PagesTable,
        buses: Sequence[Bus] = (),
        *,
        node: str = "",
        worker: int = 0,
    ) -> None:
        self._loop = loop
        self._table = table
        self._files = read_directory(files("megaphone.web") / "files" / "pages")
        self._timer: asyncio.TimerHandle | None = None
        self._timer_at = inf
        self._full: set[PagesSocket] = set()
        self._looking: asyncio.TimerHandle | None = None
        site = secrets.token_hex(SITE_CHARACTERS // 2)
        self.sites = PagesSites(buses, site, loop.time)
        self.pages = Pages(
            limits_of(table),
            self.sites,
            site=site,
            pick=secrets.randbelow,
            clock=loop.time,
            node=node,
            worker=worker,
        )
        self.sites.pages = self.pages
        self.pages.on_next = self._wake

    def apply(self, table: PagesTable) -> None:
        """Other settings hold from now on."""
        self._table = table
        self.pages.apply(limits_of(table))

    def routes(self) -> list[Route]:
        """Return what is served where."""
        get = frozenset({"GET"})
        return [
            Route("/", get, self._shell),
            Route("/", get, self._page, prefix=True),
            Route("/pages/", get, self._file, prefix=True),
            Route("/ws/websocket", get, self._channels),
        ]

    # --- files ------------------------------------------------------------

    def _shell(self, exchange: Exchange) -> None:
        host = exchange.request.host
        sockets = f" ws://{host} wss://{host}" if _HOST.fullmatch(host) else ""
        policy = (b"Content-Security-Policy", POLICY.format(sockets=sockets).encode())
        answer_file(exchange, self._files["index.html"], (policy, (b"X-DNS-Prefetch-Control", b"off")))

    def _page(self, exchange: Exchange) -> None:
        if is_page(exchange.request.path[1:]):
            self._shell(exchange)
        else:
            exchange.answer(404)

    def _file(self, exchange: Exchange) -> None:
        file = self._files.get(exchange.request.path.removeprefix("/pages/"))
        if file is None:
            exchange.answer(404)
        else:
            answer_file(exchange, file)

    # --- channels ------------------------------------------------------------

    def _channels(self, exchange: Exchange) -> None:
        request = exchange.request
        query = parse_qs(request.query[:_QUERY_LIMIT], max_num_fields=16)
        version = version_of(query.get("vsn", [""])[-1])
        if version is None:
            exchange.answer(400, (), b"this vsn is not spoken here\n")
        elif not self._is_welcome(request):
            exchange.answer(403, (), b"this origin is not welcome here\n")
        elif self.pages.is_full():
            exchange.answer(503, ((b"Retry-After", b"10"),))
        else:
            limit_bytes = 3 * self._table.page_bytes + 65_536  # JSON may need 6 bytes for a character of 2
            socket = PagesSocket(self.pages, self._loop, limit_bytes, self._is_full)
            connection = exchange.open_messages(socket, message_bytes=limit_bytes)
            if connection is not None:
                socket.begin(connection, version)

    def _is_welcome(self, request: Request) -> bool:
        """Whether who asks may connect: a page of ours, one of an origin in the configuration, or no page at all."""
        origin = request.header(b"origin")
        if origin is None or "*" in self._table.origins:
            return True
        text = origin.decode("latin-1").lower()
        return text in self._table.origins or (bool(request.host) and urlsplit(text).netloc == request.host)

    # --- time ------------------------------------------------------------

    def _wake(self, when: float) -> None:
        """Something is due at `when`, perhaps earlier than what was before."""
        if when < self._timer_at:
            if self._timer is not None:
                self._timer.cancel()
            self._timer_at = when
            self._timer = self._loop.call_at(when, self._due)

    def _due(self) -> None:
        self._timer, self._timer_at = None, inf
        self.pages.sweep(self._loop.time())

    def _is_full(self, socket: PagesSocket) -> None:
        self._full.add(socket)
        if self._looking is None:
            self._looking = self._loop.call_later(FULL_SECONDS, self._look)

    def _look(self) -> None:
        self._looking = None
        self._full = {socket for socket in self._full if socket.work()}
        if self._full:
            self._looking = self._loop.call_later(FULL_SECONDS, self._look)

    def close(self) -> None:
        """Nothing is due any more."""
        for timer in (self._timer, self._looking):
            if timer is not None:
                timer.cancel()
        self._timer_at = -inf


def limits_of(table: PagesTable) -> PageLimits:
    """Return what `[pages]` says."""
    return PageLimits(
        page_bytes=table.page_bytes,
        pages=table.max_pages,
        visitors=table.max_visitors,
        viewers_per_page=table.max_viewers,
        wants_per_page=table.max_viewers,
        topics_per_connection=table.topics_per_connection,
        messages_per_second=table.messages_per_second,
        joins_per_second=table.joins_per_second,
        requests_per_second=table.requests_per_second,
        joins_per_second_per_address=table.joins_per_second_per_address,
        requests_per_second_per_address=table.requests_per_second_per_address,
    )
