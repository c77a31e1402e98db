"""Megaphone in all its modes for tests of what browsers speak: by itself, in front of servers, over links to them.

def for_browsers(edge: Edge) -> None: ...            # what is in its configuration beside what all have

by_itself = edge_in("by_itself", for_browsers)       # fixtures of a module
edge = one_of("by_itself", "linked_to_prosody")      # each of these fixtures in turn
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, TypeVar

import pytest

from tests.servers.certificates import CertificateAuthority
from tests.servers.ejabberd_link import SECRET as EJABBERD_SECRET
from tests.servers.embedded import Embedded
from tests.servers.linked import link_upstream
from tests.servers.megaphone import Edge, upstream_of
from tests.servers.model import Endpoint
from tests.servers.process import LOOPBACK, free_port
from tests.servers.prosody_link import SECRET as PROSODY_SECRET

AnyEdge = TypeVar("AnyEdge", bound=Edge)

# the fixture of the server behind, and the secret of its links
BEHIND = {
    "in_front_of_prosody": ("prosody_behind_edge", ""),
    "in_front_of_ejabberd": ("ejabberd", ""),
    "linked_to_prosody": ("prosody_with_links", PROSODY_SECRET),
    "linked_to_ejabberd": ("ejabberd_with_links", EJABBERD_SECRET),
}


def edge_in(mode: str, settings: Callable[[Edge], None], **options: Any) -> Any:
    """Return a fixture of a module, called `mode`: an edge that runs in this mode, with `settings` in its tables."""

    @pytest.fixture(scope="module", name=mode)
    def made(
        request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory, authority: CertificateAuthority
    ) -> Iterator[Edge]:
        edge = _edge(mode, request, tmp_path_factory.mktemp(mode.replace("_", "-")), authority, options)
        with running(edge, settings):
            yield edge

    return made


@contextlib.contextmanager
def running(edge: AnyEdge, settings: Callable[[Edge], None]) -> Iterator[AnyEdge]:
    """The edge, with these settings, from its start to its end."""
    settings(edge)
    try:
        edge.start()
        yield edge
    finally:
        edge.stop()


def one_of(*modes: str) -> Any:
    """Return a fixture, called `edge`, that is each of these in turn."""

    @pytest.fixture(params=modes, name="edge")
    def chosen(request: pytest.FixtureRequest) -> Edge:
        found: Edge = request.getfixturevalue(request.param)
        return found

    return chosen


def plain_listener(edge: Edge, **listen: Any) -> Endpoint:
    """Add a listener without TLS, for those who have it elsewhere; its address."""
    endpoint = Endpoint(LOOPBACK, free_port(), "none")
    edge.tables["listen"].append({"address": f"{endpoint.host}:{endpoint.port}", "tls": "none", **listen})
    return endpoint


def with_pages(edge: Edge) -> None:
    """Ephemeral pages on the listener without TLS of a service: browsers trust what comes from their own machine."""
    edge.tables["listen"][2]["web"] = ["pages"]


def _edge(
    mode: str,
    request: pytest.FixtureRequest,
    directory: Path,
    authority: CertificateAuthority,
    options: dict[str, Any],
) -> Edge:
    if mode == "by_itself":
        service = Embedded(directory, authority, **options)
        service.register()
        return service
    name, secret = BEHIND[mode]
    server = request.getfixturevalue(name)
    upstream = link_upstream(directory, server.link, secret=secret) if secret else upstream_of(server)
    return Edge(directory, authority, [upstream], **options)
