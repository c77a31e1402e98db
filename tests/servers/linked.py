"""Megaphone in link mode in front of the reference server side, which bridges each stream to a stock server's port."""

import asyncio
import contextlib
import os
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Any

from tests.link.serve import Serve, bridge
from tests.link.server import ReferenceServer
from tests.servers.certificates import CertificateAuthority
from tests.servers.megaphone import Edge
from tests.servers.model import Endpoint

SECRET = os.urandom(32)


def secret_file(directory: Path, secret: bytes) -> Path:
    """A file with the secret that only its owner reads."""
    path = directory / "link.secret"
    path.touch(mode=0o600)
    path.write_bytes(secret)
    return path


def link_upstream(
    directory: Path, address: tuple[str, int] | Path, *, secret: bytes = SECRET, **keys: Any
) -> dict[str, Any]:
    """The [[upstream]] for links to this address."""
    where = f"unix:{address}" if isinstance(address, Path) else f"{address[0]}:{address[1]}"
    path = secret_file(directory, secret)
    return {"name": "server", "address": where, "mode": "link", "secret_file": str(path), **keys}


@contextlib.contextmanager
def edge_with_links(
    directory: Path, authority: CertificateAuthority, address: tuple[str, int], secret: bytes, **settings: Any
) -> Iterator[Edge]:
    """A running edge, each of whose workers has two links to this address; `settings` are those of Edge."""
    edge = Edge(directory, authority, [link_upstream(directory, address, secret=secret)], **settings)
    try:
        edge.start()
        yield edge
    finally:
        edge.stop()


@contextlib.asynccontextmanager
async def linked(
    directory: Path,
    authority: CertificateAuthority,
    behind: Endpoint | Serve,
    *,
    workers: int = 1,
    upstream: dict[str, Any] | None = None,
    limits: dict[str, Any] | None = None,
    **server: Any,
) -> AsyncIterator[tuple[Edge, ReferenceServer]]:
    """A running edge whose links lead to a server side with the given settings."""
    serve = bridge((behind.host, behind.port)) if isinstance(behind, Endpoint) else behind
    async with ReferenceServer(SECRET, serve=serve, **server) as side:
        edge = Edge(directory, authority, [link_upstream(directory, side.address, **(upstream or {}))], workers=workers)
        edge.tables["limits"] |= limits or {}
        try:
            await asyncio.to_thread(edge.start)
            yield edge, side
        finally:
            await asyncio.to_thread(edge.stop)


async def until(condition: Any, what: str, timeout_seconds: float = 60.0) -> None:
    """Until the condition holds; it may ask the edge, so it runs in a thread."""
    deadline = asyncio.get_running_loop().time() + timeout_seconds
    while not await asyncio.to_thread(condition):
        assert asyncio.get_running_loop().time() < deadline, f"never came: {what}"
        await asyncio.sleep(0.02)
