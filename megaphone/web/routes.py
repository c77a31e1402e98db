"""Which path of a listener is whose, and the answers that are the same for everybody: 404, 405, OPTIONS with CORS."""

from __future__ import annotations

from collections.abc import Callable, Iterable

import msgspec

from megaphone.web.answers import preflight
from megaphone.web.exchange import Exchange


class Route(msgspec.Struct, frozen=True):
    """One path, or all below one, and who answers there."""

    path: str
    """Starts with "/"; the whole path, or with `prefix` what it begins with (then it ends with "/")."""
    methods: frozenset[str]
    """In upper case; HEAD is taken where GET is, and OPTIONS is answered for everybody."""
    take: Callable[[Exchange], None]
    """Gets each request with one of these methods, and its whole body; what it raises is logged and answered 500."""
    prefix: bool = False
    body_limit_bytes: int = 0
    """A request with a longer body is answered 413 and its connection ended."""
    cors: bool = False
    """Pages of any origin may read the answers: "Access-Control-Allow-Origin: *", and preflights are answered."""


class Standard(msgspec.Struct, frozen=True):
    """An answer that is the same for everybody."""

    status: int
    headers: tuple[tuple[bytes, bytes], ...] = ()
    reason: str = ""


def standard_answer(route: Route | None, method: str) -> Standard | None:
    """Return the answer that a request with this method gets without its route; None: it is the route's to answer."""
    if route is None:
        return Standard(404, reason="there is nothing at this address")
    if method in route.methods or (method == "HEAD" and "GET" in route.methods):
        return None
    methods = {*route.methods, "OPTIONS", *({"HEAD"} if "GET" in route.methods else ())}
    allow = (b"Allow", ", ".join(sorted(methods)).encode())
    if method == "OPTIONS":
        return Standard(204, (allow, *(preflight(route.methods) if route.cors else ())))
    return Standard(405, (allow,), f"{method} is no method of this address")


class Routes:
    """The routes of one listener."""

    def __init__(self, routes: Iterable[Route]) -> None:
        """Raise ValueError for two routes of one path."""
        self._whole: dict[str, Route] = {}
        self._prefixes: dict[str, Route] = {}
        for route in routes:
            group = self._prefixes if route.prefix else self._whole
            if route.path in group:
                raise ValueError(f"two routes at {route.path}")
            group[route.path] = route
        self._longest_first = sorted(self._prefixes, key=len, reverse=True)

    def find(self, path: str) -> Route | None:
        """Return whose this path is: the route that names it, or else the one with the longest prefix of it."""
        route = self._whole.get(path)
        if route is not None:
            return route
        for prefix in self._longest_first:
            if path.startswith(prefix):
                return self._prefixes[prefix]
        return None
