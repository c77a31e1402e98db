"""Which path of a listener is whose, and the answers that are the same for everybody: 404, 405, OPTIONS with CORS."""

from __future__ import annotations

from collections.abc import Callable, Iterable

import msgspec

from megaphone.web.exchange import Exchange


class Route(msgspec.Struct, frozen=True):
    """One path, or all below one, and who answers there."""

    path: str
    """Starts with "/"; the whole path, or with `prefix` what it begins with (then it ends with "/")."""
    methods: frozenset[str]
    """In upper case; HEAD is taken where GET is, and OPTIONS is answered for everybody."""
    take: Callable[[Exchange], None]
    """Gets each request whose method is one of these, with its whole body; what it raises is logged and answered 500."""
    prefix: bool = False
    body_limit_bytes: int = 0
    """A request with a longer body is answered 413 and its connection ended."""
    cors: bool = False
    """Pages of any origin may read the answers: "Access-Control-Allow-Origin: *", and preflights are answered."""


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
