"""Wires what a listener serves over HTTP: the routes of each word in its key `web`.

A word is a row of `_BUILDERS`; whoever adds one writes a function that gets the `Site` and returns its routes.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

import msgspec

from megaphone.config.schema import Config, Listen
from megaphone.web.routes import Route, Routes


class Site(msgspec.Struct, frozen=True):
    """What routes are built from."""

    config: Config
    listen: Listen
    worker: Any
    """The process (worker.process.Process): loop, poller, dispatcher, clients, board, log."""


_BUILDERS: dict[str, Callable[[Site], Iterable[Route]]] = {}


def routes_of(site: Site) -> Routes:
    """Return the routes of one listener."""
    return Routes(route for word in site.listen.web for route in _BUILDERS[word](site) if word in _BUILDERS)
