"""The hub's configuration file: one `[hub]` table, the servers behind it, and what every node has.

The supervisor runs a hub as it runs an edge: so a `HubConfig` is a `Config` with one listener, one domain, one worker.
"""

import os
import os.path
from typing import Annotated

import msgspec
from msgspec import Meta

from megaphone.config import changes
from megaphone.config.certificates import CertificateProblem, look_into
from megaphone.config.environment import check_admin, check_upstream_socket
from megaphone.config.link_secret import read_secret as read_secret_file
from megaphone.config.load import document, read_text
from megaphone.config.rules import Rules, is_loopback
from megaphone.config.schema import (
    Admin,
    Config,
    Domain,
    Drain,
    Health,
    Listen,
    Log,
    Node,
    Positive,
    Restart,
    Seconds,
    Table,
    Upstream,
)
from megaphone.config.shape import build
from megaphone.errors import ConfigError, TLSError
from megaphone.sockets.endpoint import parse_address
from megaphone.sockets.tls_contexts import TLSContext
from megaphone.stream.domain import normalise_domain
from megaphone.wire.link_messages import WINDOW_BYTES

SMALLEST_HUB = """\
[hub]
address = "127.0.0.1:5280"
secret_file = "link.secret"
domain = "localhost"

[[upstream]]
name = "server"
address = "127.0.0.1:5232"
proxy_protocol = false
"""


class Hub(Table, frozen=True):
    """`[hub]`: where edges connect, and what they may use."""

    address: str  # "host:port", "[v6]:port" or "unix:/path"
    secret_file: str  # 16 to 1,024 bytes; a relative path starts at the configuration file's directory
    domain: str  # one that the server serves: health checks open a stream for it
    certificate: str = ""  # PEM chain; with key and client_ca links are in mutual TLS
    key: str = ""
    client_ca: str = ""  # PEM: who signs the certificates of edges
    max_links: Annotated[int, Meta(ge=1, le=4096)] = 64
    max_streams: Annotated[int, Meta(ge=1, le=4_194_303)] = 100_000  # of one link
    max_connections: Annotated[int, Meta(ge=1, le=4_194_303)] = 100_000  # streams of all links
    window_bytes: Annotated[int, Meta(ge=WINDOW_BYTES[0], le=WINDOW_BYTES[1])] = 65_536  # per stream, each way
    grace_seconds: Annotated[int, Meta(ge=1, le=3600)] = 30  # how long a link without a socket is kept
    connect_seconds: Seconds = 5.0  # for one attempt to reach a server
    slow_seconds: Seconds = 60.0  # how long a peer may take nothing
    close_seconds: Seconds = 3.0  # how long a closing socket may take to read our last bytes


class Server(Table, frozen=True):
    """`[[upstream]]`: one server address behind the hub."""

    name: str
    address: str  # "host:port", "[v6]:port" or "unix:/path"
    proxy_protocol: bool = True  # PROXY v2 before the first bytes
    max_connections: Positive = 1_000_000
    source_addresses: tuple[str, ...] = ()  # addresses or networks to connect from, used in turn


class HubAdmin(Admin, frozen=True):
    """`[admin]`, with other defaults than an edge's, so that both can run on one machine."""

    address: str = "127.0.0.1:9281"
    socket: str = "/run/megaphone/hub-admin.sock"


class HubFile(Table, frozen=True):
    """The whole file."""

    hub: Hub
    upstream: tuple[Server, ...] = ()
    health: Health = Health()
    restart: Restart = Restart()
    drain: Drain = Drain()
    admin: HubAdmin = HubAdmin()
    log: Log = Log()


class HubConfig(Config, frozen=True, kw_only=True):
    """What supervisor and hub run on."""

    hub: Hub


# What a reload takes over; the rest of [hub] is laid out once.
_RELOADED = frozenset({"certificate", "key", "client_ca", "connect_seconds", "slow_seconds", "close_seconds"})


def load(path: str) -> HubConfig:
    """Read and check the file at `path`, without looking at other files (`check_environment`)."""
    return parse(read_text(path), path)


def parse(text: str, file: str) -> HubConfig:
    """Return the configuration that `text` describes; `file` is its name in errors and the start of relative paths."""
    found = document(text, file)
    if "hub" not in found:
        raise ConfigError(file, "", f"there is no [hub]. The smallest configuration of a hub:\n\n{SMALLEST_HUB}")
    return _Rules(build(found, file, HubFile), file).hub()


class _Rules(Rules):
    def __init__(self, given: HubFile, file: str) -> None:
        self.given = given
        hub = msgspec.structs.replace(
            given.hub,
            **{
                name: os.path.join(os.path.dirname(file), path)
                for name in ("secret_file", "certificate", "key", "client_ca")
                if (path := getattr(given.hub, name))
            },
        )
        super().__init__(
            HubConfig(
                hub=hub,
                node=Node(workers=1, max_connections=hub.max_connections),
                listen=(Listen(address=hub.address, tls="direct" if hub.certificate else "none", backlog=128),),
                upstream=tuple(Upstream(**msgspec.structs.asdict(server)) for server in given.upstream),
                health=given.health,
                restart=given.restart,
                drain=given.drain,
                admin=given.admin,
                log=given.log,
            ),
            file,
        )

    def hub(self) -> HubConfig:
        if not self.config.upstream:
            self.refuse("upstream", "there is no [[upstream]], so the hub would have no server to connect to")
        self.check_address()
        self.check_upstreams()
        self.check_limits()
        self.check_drain()
        self.check_admin()
        name = self.parsed("hub.domain", normalise_domain, self.given.hub.domain)
        served = Domain(name=name, upstreams=tuple(upstream.name for upstream in self.config.upstream))
        assert isinstance(self.config, HubConfig)  # noqa: S101 - made so above
        return msgspec.structs.replace(self.config, domain=(served,), admin=self.admin())

    def check_drain(self) -> None:
        if self.given.drain.see_other_host:
            self.refuse("drain.see_other_host", "has no meaning for a hub: its clients are those of its edges")

    def check_address(self) -> None:
        hub = self.given.hub
        endpoint = self.parsed("hub.address", parse_address, hub.address)
        if not hub.secret_file or "\0" in hub.secret_file:
            self.refuse("hub.secret_file", "must be the path of a file")
        missing = [name for name in ("certificate", "key", "client_ca") if not getattr(hub, name)]
        if missing and len(missing) < 3:
            self.refuse(f"hub.{missing[0]}", "is missing: mutual TLS needs certificate, key and client_ca")
        if missing and endpoint.path is None and not is_loopback(endpoint.host):
            self.refuse(
                "hub.address",
                f"{endpoint} can be reached from other machines, and whoever speaks on a link may claim any client: "
                "give certificate, key and client_ca for mutual TLS, or listen on 127.0.0.1, [::1] or a Unix socket",
            )


def read_secret(config: HubConfig, file: str) -> bytes:
    """Return the secret that edges must know; ConfigError when it cannot be used."""
    try:
        return read_secret_file(config.hub.secret_file)
    except ValueError as error:
        raise ConfigError(file, "hub.secret_file", f"{config.hub.secret_file}: {error}") from None


def check_environment(config: HubConfig, file: str = "configuration") -> tuple[str, ...]:
    """Return warnings, each "key: what will bite"; ConfigError for what the hub cannot start with."""
    read_secret(config, file)
    hub = config.hub
    warnings: list[str] = []
    if hub.certificate:
        try:
            found = look_into(hub.certificate, hub.key)
            TLSContext(hub.certificate, hub.key, client_ca=hub.client_ca)
        except CertificateProblem as problem:
            name = "certificate" if problem.field == "chain" else problem.field
            raise ConfigError(file, f"hub.{name}", problem.reason) from None
        except TLSError as error:
            raise ConfigError(file, "hub.client_ca", str(error)) from None
        if found.problem:
            warnings.append(f"hub.certificate: {hub.certificate}: {found.problem}")
    for index, upstream in enumerate(config.upstream):
        check_upstream_socket(parse_address(upstream.address), f"upstream[{index}].address", file)
    return (*warnings, *check_admin(config, file))


def read_candidate(path: str, current: Config) -> tuple[Config, str, tuple[str, ...]]:
    """The configuration now in the file, its text and warnings; ConfigError when it cannot take `current`'s place."""
    text = read_text(path)
    candidate = parse(text, path)
    warnings = check_environment(candidate, path)
    keys = [key for key in changes.restart_needed(current, candidate) if not key.startswith(("listen", "node"))]
    if isinstance(current, HubConfig):
        keys = [*changes.differences("hub", current.hub, candidate.hub, _RELOADED), *keys]
    if keys:
        raise ConfigError(path, ", ".join(keys), "cannot change while running; restart the hub to change it")
    return candidate, text, warnings
