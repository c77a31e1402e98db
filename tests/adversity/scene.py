"""The one Megaphone that gets all the bad input, and what a row may do with it."""

import ssl
from collections import Counter
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from tests.adversity.visitor import Visitor, tls_context
from tests.adversity.watch import scrape
from tests.servers.certificates import CertificateAuthority
from tests.servers.megaphone import Edge
from tests.servers.model import DOMAIN, Endpoint
from tests.servers.process import LOOPBACK, ServerError, free_port

WORKERS = 2
CONNECTIONS_OF_A_WORKER = 60
UPSTREAM_FULL_AT = WORKERS  # one for each worker
PROXY_NETWORK = "127.8.0.0/16"
PROXY = "127.8.0.1"
# Defaults, except that nobody wants to wait for them here, and that these addresses may connect as they like.
LIMITS: Mapping[str, Any] = {"close_seconds": 1.0, "trusted_networks": ["127.0.0.0/16", PROXY_NETWORK]}


class Scene:
    """A running edge with a STARTTLS, a direct TLS and a plain listener, and two that expect PROXY headers."""

    def __init__(self, directory: Path, authority: CertificateAuthority, server: Endpoint) -> None:
        self.authority = str(authority.certificate)
        self.context = tls_context(self.authority)
        address = f"{server.host}:{server.port}"
        upstreams = [
            {"name": "fake", "address": address, "proxy_protocol": False},
            {"name": "full", "address": address, "proxy_protocol": False, "max_connections": UPSTREAM_FULL_AT},
            {"name": "down", "address": f"{LOOPBACK}:{free_port()}", "proxy_protocol": False},
        ]
        self.edge = Edge(directory, authority, upstreams, workers=WORKERS, domains=[DOMAIN])
        self.edge.tables["node"]["max_connections"] = CONNECTIONS_OF_A_WORKER
        self.edge.tables["domain"][0]["upstreams"] = ["fake"]
        self.edge.tables["limits"] = dict(LIMITS)
        self.starttls, self.direct = self.edge.starttls.port, self.edge.direct.port
        self.plain = self._listen(tls="none")
        self.proxied = self._listen(tls="starttls", proxy_protocol_from=[PROXY_NETWORK])
        self.proxied_direct = self._listen(tls="direct", proxy_protocol_from=[PROXY_NETWORK])
        self._in_force: tuple[dict[str, Any], tuple[str, ...]] = (dict(LIMITS), ("fake",))

    def _listen(self, **options: Any) -> int:
        port = free_port()
        self.edge.tables["listen"].append({"address": f"{LOOPBACK}:{port}", **options})
        return port

    def apply(self, limits: Mapping[str, Any], upstreams: tuple[str, ...]) -> None:
        """Put these limits and upstreams in force; ServerError if the reload is refused."""
        wanted = {**LIMITS, **limits}, upstreams
        if wanted == self._in_force:
            return
        self.edge.tables["limits"] = wanted[0]
        self.edge.tables["domain"][0]["upstreams"] = list(upstreams)
        self.edge.write_config()
        self.edge.request("POST", "/reload")
        self._in_force = wanted

    def visit(self, port: int, source: str | None = None) -> Visitor:
        """A new connection."""
        return Visitor(port, source=source)

    def inside(self, source: str | None = None, context: ssl.SSLContext | None = None) -> Visitor:
        """A new connection with direct TLS, before its first stream."""
        visitor = Visitor(self.direct, source=source)
        refused = visitor.start_tls(context or self.context)
        if refused is not None:
            raise ServerError(f"no TLS: {refused}")
        return visitor

    def session(self, source: str | None = None) -> Visitor:
        """A new connection with direct TLS, logged in."""
        visitor = self.inside(source)
        visitor.log_in()
        return visitor

    def counts(self, *names: str) -> Counter[tuple[str, str]]:
        """The value of each counter by its name and its only label's value ("" without a label)."""
        samples, _ = scrape(self.edge)
        found: Counter[tuple[str, str]] = Counter()
        for (name, labels), value in samples.items():
            if name in names:
                found[name, labels[0][1] if len(labels) == 1 else ""] += int(value)
        return found
