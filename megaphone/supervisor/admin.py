"""The operators' pages: which path answers what, on the TCP admin address and on the control socket (all).

for everybody   GET  /metrics  /health/live  /health/ready  /dashboard.json  /  /dashboard  /dashboard/FILE
with the token  GET  /nodes  /page  /talkers                             POST /kick  /drain
control socket  GET  /status  /connections  /links  /upgrade             POST /reload  /upgrade
"""

from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from typing import Final, TypeVar

import msgspec
import trio
from msgspec import Struct
from prometheus_client import CollectorRegistry, generate_latest

from megaphone.errors import UpgradeError
from megaphone.metrics.collector import BoardCollector
from megaphone.metrics.edge import CONNECTION_STATES
from megaphone.metrics.facts import NodeFacts
from megaphone.supervisor import listing, pages, views
from megaphone.supervisor.access import Access, refusal
from megaphone.supervisor.asking import ASK_SECONDS, ask_all
from megaphone.supervisor.conversation import WorkerUnavailableError
from megaphone.supervisor.feed import Feed
from megaphone.supervisor.http import Request, Response, Server, error_response, json_response
from megaphone.supervisor.program import Program
from megaphone.supervisor.state import NodeState
from megaphone.supervisor.supervisor import Supervisor
from megaphone.supervisor.upgrade import Upgrade

LIST_DEFAULT: Final = 100
LIST_LIMIT: Final = 10_000
_GET: Final = ("GET", "HEAD")
_POST: Final = ("POST",)
_METRICS_TYPE: Final = "text/plain; version=0.0.4; charset=utf-8"

T = TypeVar("T")


class Kick(Struct, frozen=True, forbid_unknown_fields=True):
    """The body of POST /kick: exactly one of these."""

    connection: str | None = None  # 16 hexadecimal digits
    address: str | None = None
    jid: str | None = None


class Drain(Struct, frozen=True, forbid_unknown_fields=True):
    """The body of POST /drain: the whole node, or one worker."""

    worker: int | None = None


class NewProgram(Struct, frozen=True):
    """The body of POST /upgrade; fields that a later version adds are ignored."""

    program: Program
    force: bool = False


@dataclass(frozen=True, slots=True)
class _Route:
    methods: tuple[str, ...]
    access: Access
    answer: Callable[[Request], Awaitable[Response]]


class Admin:
    """Answers operators and Prometheus about one supervisor."""

    def __init__(
        self, supervisor: Supervisor, upgrade: Upgrade, snapshot: Callable[[], NodeState], *, admin_address: str = ""
    ) -> None:
        self._supervisor = supervisor
        self._upgrade = upgrade
        self._snapshot = snapshot
        self._admin_address = admin_address
        self._requests = supervisor.holdings.requests
        self._registry = CollectorRegistry()
        self._registry.register(BoardCollector(self._facts))
        self._server = Server(on_refused=lambda status: self._requests.update([("unread", str(status))]))
        self._feed = Feed(supervisor, self._facts)
        self._routes: Final = {
            "/metrics": _Route(_GET, Access.OPEN, self._metrics),
            "/health/live": _Route(_GET, Access.OPEN, self._live),
            "/health/ready": _Route(_GET, Access.OPEN, self._ready),
            "/dashboard": _Route(_GET, Access.OPEN, self._file),
            "/dashboard.json": _Route(_GET, Access.OPEN, self._numbers),
            "/status": _Route(_GET, Access.SOCKET, self._status),
            "/connections": _Route(_GET, Access.SOCKET, self._connections),
            "/page": _Route(_GET, Access.OPERATORS, self._page),
            "/talkers": _Route(_GET, Access.OPERATORS, self._talkers),
            "/links": _Route(_GET, Access.SOCKET, self._links),
            "/nodes": _Route(_GET, Access.OPERATORS, self._nodes),
            "/kick": _Route(_POST, Access.OPERATORS, self._kick),
            "/drain": _Route(_POST, Access.OPERATORS, self._drain),
            "/reload": _Route(_POST, Access.SOCKET, self._reload),
            "/upgrade": _Route((*_GET, *_POST), Access.SOCKET, self._answer_upgrade),
        }
        self._files: Final = _Route(_GET, Access.OPEN, self._file)

    async def serve_tcp(self, stream: trio.abc.Stream) -> None:
        """Serves one connection to the admin address."""
        await self._server.serve(stream, lambda request: self._answer(request, on_tcp=True))

    async def serve_control(self, stream: trio.abc.Stream) -> None:
        """Serves one connection to the control socket."""
        await self._server.serve(stream, lambda request: self._answer(request, on_tcp=False))

    async def finish(self, within_seconds: float) -> None:
        """Ends all connections, those with a request after their answer if it comes in time."""
        await self._server.finish(within_seconds)

    async def _answer(self, request: Request, *, on_tcp: bool) -> Response:
        route, label = self._routes.get(request.path), request.path
        if route is None and request.path in pages.files():
            route, label = self._files, "/dashboard"
        response = await self._routed(route, request, on_tcp=on_tcp)
        # Only known paths become label values: strangers must not be able to make the page grow.
        self._requests[label if route is not None else "other", str(response.status)] += 1
        return response

    async def _routed(self, route: _Route | None, request: Request, *, on_tcp: bool) -> Response:
        if route is None:
            return error_response(404, f"there is no {request.path}; there are {', '.join(self._routes)}")
        if on_tcp and (refused := refusal(request, route.access, self._supervisor.config.admin.token_file)) is not None:
            return refused
        if request.method not in route.methods:
            allowed = {"Allow": ", ".join(route.methods)}
            return error_response(405, f"{request.path} takes {' or '.join(route.methods)}", allowed)
        return await route.answer(request)

    # Looking

    def _facts(self) -> NodeFacts:
        return views.node_facts(self._supervisor, self._upgrade, admin_requests=self._requests)

    async def _metrics(self, _: Request) -> Response:
        return Response(200, generate_latest(self._registry), _METRICS_TYPE)

    async def _numbers(self, _: Request) -> Response:
        return json_response(200, self._feed.now(), pages.HEADERS)

    async def _file(self, request: Request) -> Response:
        return pages.files()[request.path]

    async def _live(self, _: Request) -> Response:
        return json_response(200, {"live": True})

    async def _ready(self, _: Request) -> Response:
        reasons = views.not_ready_reasons(self._supervisor)
        return json_response(503 if reasons else 200, {"ready": not reasons, "reasons": reasons})

    async def _status(self, _: Request) -> Response:
        return json_response(200, views.status(self._supervisor, self._upgrade, admin_address=self._admin_address))

    async def _connections(self, request: Request) -> Response:
        unknown = sorted(request.query.keys() - {"address", "jid", "state", "limit"})
        if unknown:
            return error_response(400, f"unknown parameter {unknown[0]}; there are address, jid, state, limit")
        state = request.query.get("state")
        if state is not None and state not in CONNECTION_STATES:
            return error_response(400, f"state is one of {', '.join(CONNECTION_STATES)}")
        try:
            limit = _limit(request.query, LIST_DEFAULT, LIST_LIMIT)
        except ValueError as error:
            return error_response(400, str(error))
        lists, missing = await ask_all(
            self._supervisor.seats,
            lambda worker: worker.connections(
                address=request.query.get("address"),
                jid=request.query.get("jid"),
                state=state,
                limit=limit,
                timeout_seconds=ASK_SECONDS,
            ),
        )
        rows = [row for rows in lists.values() for row in rows]
        truncated = len(rows) > limit or any(len(rows) >= limit for rows in lists.values())
        return json_response(200, {"connections": rows[:limit], "truncated": truncated, "missing_workers": missing})

    async def _page(self, request: Request) -> Response:
        query = request.query
        if unknown := sorted(query.keys() - {"search", "state", "from", "limit"}):
            return error_response(400, f"unknown parameter {unknown[0]}; there are search, state, from, limit")
        state = query.get("state")
        if state is not None and state not in CONNECTION_STATES:
            return error_response(400, f"state is one of {', '.join(CONNECTION_STATES)}")
        try:
            begin = listing.place(query.get("from", listing.FIRST))
            limit = _limit(query, 50, listing.PAGE_LIMIT)
        except ValueError as error:
            return error_response(400, str(error))
        search = query.get("search", "")
        return json_response(
            200, await listing.page(self._supervisor.seats, search=search, state=state, begin=begin, limit=limit)
        )

    async def _talkers(self, request: Request) -> Response:
        try:
            limit = _limit(request.query, 20, listing.TALKERS_LIMIT)
        except ValueError as error:
            return error_response(400, str(error))
        return json_response(200, await listing.talkers(self._supervisor.seats, limit=limit))

    async def _links(self, _: Request) -> Response:
        lists, missing = await ask_all(self._supervisor.seats, lambda worker: worker.links(timeout_seconds=ASK_SECONDS))
        links = [row for rows in lists.values() for row in rows]
        return json_response(200, {"links": links, "missing_workers": missing})

    async def _nodes(self, _: Request) -> Response:
        seen, missing = await ask_all(self._supervisor.seats, lambda worker: worker.nodes(timeout_seconds=ASK_SECONDS))
        workers = [
            {"worker": index, "up": each.up, "trouble": each.trouble, "nodes": each.nodes}
            for index, each in seen.items()
        ]
        return json_response(200, {"workers": workers, "missing_workers": missing})

    # Steering

    async def _kick(self, request: Request) -> Response:
        try:
            wanted = msgspec.json.decode(request.body, type=Kick)
        except (msgspec.DecodeError, UnicodeDecodeError) as error:
            return error_response(400, f"the body cannot be used: {error}")
        given = [value for value in (wanted.connection, wanted.address, wanted.jid) if value is not None]
        if len(given) != 1 or not given[0]:
            return error_response(400, "give exactly one of connection, address, jid")
        counts, missing = await ask_all(
            self._supervisor.seats,
            lambda worker: worker.kick(
                connection=wanted.connection, address=wanted.address, jid=wanted.jid, timeout_seconds=ASK_SECONDS
            ),
        )
        return json_response(200, {"kicked": sum(counts.values()), "missing_workers": missing})

    async def _drain(self, request: Request) -> Response:
        try:
            wanted = msgspec.json.decode(request.body or b"{}", type=Drain)
        except (msgspec.DecodeError, UnicodeDecodeError) as error:
            return error_response(400, f"the body cannot be used: {error}")
        supervisor = self._supervisor
        if wanted.worker is None:
            supervisor.drain()
        else:
            try:
                supervisor.drain_worker(wanted.worker)
            except WorkerUnavailableError as error:
                return error_response(409, str(error))
        deadline_seconds = supervisor.config.drain.deadline_seconds
        return json_response(202, {"draining": True, "worker": wanted.worker, "deadline_seconds": deadline_seconds})

    async def _reload(self, _: Request) -> Response:
        outcome = await self._supervisor.reload()
        workers = {str(index): answer for index, answer in outcome.workers.items()}
        answer = {"accepted": outcome.accepted, "reason": outcome.reason, "workers": workers}
        return json_response(200 if outcome.accepted else 409, answer)

    async def _answer_upgrade(self, request: Request) -> Response:
        if request.method != "POST":
            return json_response(200, self._upgrade.view())
        try:
            wanted = msgspec.json.decode(request.body, type=NewProgram)
        except (msgspec.DecodeError, UnicodeDecodeError) as error:
            return error_response(400, f"the body cannot be used: {error}")
        try:
            begun = await self._upgrade.begin(wanted.program, force=wanted.force, snapshot=self._snapshot)
        except UpgradeError as error:
            return json_response(409, {"accepted": False, "begun": False, "reason": str(error)})
        number = self._upgrade.state.number
        return json_response(202 if begun else 200, {"accepted": True, "begun": begun, "number": number, "reason": ""})


def _limit(query: Mapping[str, str], default: int, most: int) -> int:
    """The parameter `limit`; ValueError if it is no number from 1 to `most`."""
    text = query.get("limit", str(default))
    if not (text.isascii() and text.isdigit() and len(text) <= 9 and 1 <= int(text) <= most):
        raise ValueError(f"limit is a number from 1 to {most}")
    return int(text)
