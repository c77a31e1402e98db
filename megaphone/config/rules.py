"""What the keys must be towards each other: addresses that parse, names that exist, nothing twice. Touches no file."""

import difflib
import os.path
import re
from collections.abc import Callable, Iterable
from typing import NoReturn, TypeVar

from msgspec.structs import replace

from megaphone.config.bosh_rules import check_bosh
from megaphone.config.chat_rules import apply_chat_rules
from megaphone.config.schema import Admin, Certificate, Config, Domain, Upstream
from megaphone.config.service_rules import apply_service_rules
from megaphone.errors import ConfigError
from megaphone.sockets.endpoint import (
    UNIX_PATH_LIMIT_BYTES,
    Endpoint,
    expand_sources,
    parse_address,
    parse_network,
    parse_other_host,
)
from megaphone.stream.domain import ascii_domain, normalise_domain

UPSTREAMS_LIMIT = 64  # the counter board has room for as many (dispatch.counters)

SMALLEST_CONFIG = """\
[[listen]]
address = "127.0.0.1:5222"
tls = "none"

[[domain]]
name = "localhost"
upstreams = ["server"]

[[upstream]]
name = "server"
address = "127.0.0.1:5232"
proxy_protocol = false
"""

SMALLEST_SERVICE = """\
[[listen]]
address = "127.0.0.1:5222"
tls = "none"

[[domain]]
name = "localhost"
"""

_DIRECT_KEYS = {"proxy_protocol": True, "source_addresses": ()}  # and their defaults
_LINK_TLS_KEYS = ("ca", "certificate", "key")
_LINK_KEYS = {
    **{"links": 2, "secret_file": "", "opening_streams": 64, "server_name": ""},
    **dict.fromkeys(_LINK_TLS_KEYS, ""),
}

_PATH = re.compile(r"/[A-Za-z0-9._~/-]*")  # that needs no escapes in a request
_ORIGIN = re.compile(r"[a-z][a-z0-9+.-]*://[^/?#@\s]+", re.IGNORECASE)  # RFC 6454 section 6.2
_PUBLIC_URL = re.compile(r"https?://[A-Za-z0-9.-]+(:[0-9]{1,5})?|https?://\[[0-9A-Fa-f:.]+\](:[0-9]{1,5})?")
T = TypeVar("T")


def apply_rules(config: Config, file: str) -> Config:
    """Return `config` with domains in their normal form and whole certificate paths; ConfigError for a broken rule."""
    return Rules(config, file).apply()


class Rules:
    """The rules of one configuration; each `check_` refuses what breaks it."""

    def __init__(self, config: Config, file: str) -> None:
        self.config = config
        self.file = file

    def refuse(self, key: str, reason: str) -> NoReturn:
        """Raise the ConfigError."""
        raise ConfigError(self.file, key, reason)

    def parsed(self, key: str, read: Callable[[str], T], text: str) -> T:
        """Return read(text), its ValueError as a ConfigError of `key`."""
        try:
            return read(text)
        except ValueError as error:
            self.refuse(key, str(error))

    def apply(self) -> Config:
        """Return the configuration, normalised."""
        self.check_something_to_do()
        self.check_listeners()
        self.check_websocket()
        check_bosh(self.config, self.refuse)
        self.check_upstreams()
        upstreams = tuple(self.upstream(*each) for each in enumerate(self.config.upstream))
        certificates = tuple(self.certificate(*each) for each in enumerate(self.config.certificate))
        domains = self.domains()
        self.check_limits()
        self.check_drain()
        self.check_admin()
        config = replace(self.config, certificate=certificates, domain=domains, upstream=upstreams, admin=self.admin())
        return apply_chat_rules(apply_service_rules(config, self.file), self.file)

    def check_something_to_do(self) -> None:
        """Refuse a configuration without a listener or a domain."""
        missing = [name for name in ("listen", "domain") if not getattr(self.config, name)]
        if missing:
            tables = " and no ".join(f"[[{name}]]" for name in missing)
            self.refuse("", f"there is no {tables}, so there is nothing to do. {smallest_configurations()}")

    def check_listeners(self) -> None:
        """Refuse addresses that cannot be listened on, and keys without a meaning there."""
        seen: dict[Endpoint, int] = {}
        for index, listen in enumerate(self.config.listen):
            key = f"listen[{index}]"
            endpoint = self.parsed(f"{key}.address", parse_address, listen.address)
            if endpoint.path is not None:
                self.refuse(f"{key}.address", "clients connect over TCP, not over a Unix socket")
            if endpoint.port and endpoint in seen:
                self.refuse(f"{key}.address", f"{endpoint} is also the address of listen[{seen[endpoint]}]")
            seen[endpoint] = index
            if listen.tls != "none" and not self.config.certificate:
                self.refuse(
                    f"{key}.tls",
                    f'"{listen.tls}" needs a [[certificate]] with "chain" and "key"; or set tls = "none"',
                )
            if listen.tls not in ("starttls", "both") and listen.starttls != "required":
                self.refuse(f"{key}.starttls", f'has no meaning with tls = "{listen.tls}"')
            self.check_networks(f"{key}.proxy_protocol_from", listen.proxy_protocol_from)
            for position, word in enumerate(listen.web):
                if word in listen.web[:position]:
                    self.refuse(f"{key}.web[{position}]", f'"{word}" is there twice')

    def check_websocket(self) -> None:
        """Refuse a path that no request can name, and origins that no browser sends."""
        table = self.config.websocket
        if not _PATH.fullmatch(table.path):
            self.refuse("websocket.path", 'must be the path of an address, such as "/xmpp-websocket"')
        for name, origins in (("websocket", table.origins), ("pages", self.config.pages.origins)):
            for index, origin in enumerate(origins):
                if origin != "*" and not _ORIGIN.fullmatch(origin):
                    self.refuse(
                        f"{name}.origins[{index}]",
                        'must be "*" or a scheme and a host without a path, such as "https://chat.example.org"',
                    )
        self.check_networks("websocket.forwarded_from", table.forwarded_from)
        url = self.config.web.public_url
        if url and not _PUBLIC_URL.fullmatch(url):
            self.refuse(
                "web.public_url",
                'must be "https://" or "http://" and a host without a path: "https://chat.example.org"',
            )

    def check_networks(self, key: str, texts: Iterable[str]) -> None:
        """Refuse what is no network."""
        for index, text in enumerate(texts):
            self.parsed(f"{key}[{index}]", parse_network, text)

    def check_upstreams(self) -> None:
        """Refuse names and addresses that cannot be told apart or connected to."""
        if len(self.config.upstream) > UPSTREAMS_LIMIT:
            self.refuse("upstream", f"there are {len(self.config.upstream)}; at most {UPSTREAMS_LIMIT} are possible")
        names: dict[str, int] = {}
        for index, upstream in enumerate(self.config.upstream):
            key = f"upstream[{index}]"
            if not upstream.name or not upstream.name.isprintable():
                self.refuse(f"{key}.name", "must be a printable text that is not empty: logs and metrics show it")
            if upstream.name in names:
                self.refuse(f"{key}.name", f'"{upstream.name}" is also the name of upstream[{names[upstream.name]}]')
            names[upstream.name] = index
            self.check_upstream_address(key, upstream)
            self.check_mode(key, upstream)

    def check_upstream_address(self, key: str, upstream: Upstream) -> None:
        """Refuse an address, or source addresses, that no socket can have."""
        endpoint = self.parsed(f"{key}.address", parse_address, upstream.address)
        if endpoint.path is None and not endpoint.host:
            self.refuse(
                f"{key}.address", f'names no host; for a server on this machine write "127.0.0.1:{endpoint.port}"'
            )
        if endpoint.path is None and not endpoint.port:
            self.refuse(f"{key}.address", "port 0 is no port that a server can be reached at")
        sources_key = f"{key}.source_addresses"
        if upstream.source_addresses and endpoint.path is not None:
            self.refuse(sources_key, "has no meaning for a Unix socket, which has no source addresses")
        sources = self.parsed_sources(sources_key, upstream.source_addresses)
        is_name = any(character.isalpha() for character in endpoint.host) and ":" not in endpoint.host
        if sources and not is_name and (":" in sources[0]) != (":" in endpoint.host):
            self.refuse(sources_key, f"{sources[0]} and {endpoint} are not of the same family (IPv4, IPv6)")

    def check_mode(self, key: str, upstream: Upstream) -> None:
        """Refuse keys of the other mode, and links over a network without mutual TLS."""
        other = _LINK_KEYS if upstream.mode == "direct" else _DIRECT_KEYS
        for name, default in other.items():
            if getattr(upstream, name) != default:
                self.refuse(f"{key}.{name}", f'has no meaning with mode = "{upstream.mode}"')
        if upstream.mode == "direct":
            return
        if not upstream.secret_file or "\0" in upstream.secret_file:
            self.refuse(f"{key}.secret_file", 'must be the path of a file with the secret; mode = "link" needs one')
        given = [name for name in _LINK_TLS_KEYS if getattr(upstream, name)]
        missing = [name for name in _LINK_TLS_KEYS if name not in given]
        endpoint = parse_address(upstream.address)
        if given and missing:
            self.refuse(f"{key}.{missing[0]}", f'is missing: with "{given[0]}" it is mutual TLS, which needs all three')
        if upstream.server_name and not given:
            self.refuse(f"{key}.server_name", 'has no meaning without "ca", "certificate" and "key"')
        if given and endpoint.path is not None and not upstream.server_name:
            self.refuse(f"{key}.server_name", "is missing: the name in the server's certificate, for a Unix socket")
        if not given and endpoint.path is None and not is_loopback(endpoint.host):
            self.refuse(
                f"{key}.address",
                f'a link to {endpoint} crosses a network, so it needs TLS: give "ca", "certificate" and "key"',
            )

    def upstream(self, index: int, upstream: Upstream) -> Upstream:
        """Return the upstream with whole paths."""
        if upstream.server_name:
            self.parsed(f"upstream[{index}].server_name", host_name, upstream.server_name)
        directory = os.path.dirname(self.file)
        paths = {
            name: os.path.join(directory, getattr(upstream, name))
            for name in ("secret_file", *_LINK_TLS_KEYS)
            if getattr(upstream, name)
        }
        return replace(upstream, **paths)

    def parsed_sources(self, key: str, texts: tuple[str, ...]) -> tuple[str, ...]:
        """Return the source addresses, expanded."""
        try:
            return expand_sources(texts)
        except ValueError as error:
            self.refuse(key, str(error))

    def certificate(self, index: int, certificate: Certificate) -> Certificate:
        """Return one certificate with whole paths and normal names."""
        key = f"certificate[{index}]"
        for name, path in (("chain", certificate.chain), ("key", certificate.key)):
            if not path or "\0" in path:
                self.refuse(f"{key}.{name}", "must be the path of a PEM file")
        return replace(
            certificate,
            chain=os.path.join(os.path.dirname(self.file), certificate.chain),
            key=os.path.join(os.path.dirname(self.file), certificate.key),
            names=tuple(
                self.parsed(f"{key}.names[{position}]", certificate_name, name)
                for position, name in enumerate(certificate.names)
            ),
        )

    def domains(self) -> tuple[Domain, ...]:
        """Return the domains, normalised."""
        upstreams = [upstream.name for upstream in self.config.upstream]
        seen: dict[str, int] = {}
        found = []
        for index, domain in enumerate(self.config.domain):
            key = f"domain[{index}]"
            name = self.parsed(f"{key}.name", normalise_domain, domain.name)
            if name in seen:
                self.refuse(f"{key}.name", f'"{name}" is also the name of domain[{seen[name]}]')
            seen[name] = index
            if not domain.upstreams and upstreams:
                self.refuse(
                    f"{key}.upstreams",
                    "is empty, so nobody would serve the domain: name the [[upstream]]s that do. Megaphone serves a "
                    "domain itself only in a configuration without any [[upstream]]",
                )
            if domain.upstreams and not upstreams:
                self.refuse(
                    f"{key}.upstreams[0]",
                    f'there is no [[upstream]] "{domain.upstreams[0]}"; leave out "upstreams" for a domain that '
                    "Megaphone serves itself",
                )
            for position, upstream in enumerate(domain.upstreams):
                path = f"{key}.upstreams[{position}]"
                if upstream not in upstreams:
                    self.refuse(path, f'there is no upstream "{upstream}"' + _nearest(upstream, upstreams))
                if upstream in domain.upstreams[:position]:
                    self.refuse(path, f'"{upstream}" is there twice')
            found.append(replace(domain, name=name))
        return tuple(found)

    def check_limits(self) -> None:
        """Refuse limits that contradict each other."""
        self.check_networks("limits.trusted_networks", self.config.limits.trusted_networks)
        restart = self.config.restart
        if restart.backoff_first_seconds > restart.backoff_max_seconds:
            self.refuse(
                "restart.backoff_first_seconds",
                f"{restart.backoff_first_seconds} is more than backoff_max_seconds, {restart.backoff_max_seconds}",
            )

    def check_drain(self) -> None:
        """Refuse a place that no client can be sent to."""
        if self.config.drain.see_other_host:
            self.parsed("drain.see_other_host", parse_other_host, self.config.drain.see_other_host)

    def check_admin(self) -> None:
        """Refuse addresses that nobody could ask."""
        admin = self.config.admin
        if admin.address and self.parsed("admin.address", parse_address, admin.address).path is not None:
            self.refuse("admin.address", 'is for TCP; the Unix socket is "socket" in [admin]')
        if not admin.socket.startswith("/") or "\0" in admin.socket:
            self.refuse("admin.socket", f'must be an absolute path, not "{admin.socket}"')
        if len(admin.socket.encode("utf-8", "surrogateescape")) > UNIX_PATH_LIMIT_BYTES:
            self.refuse("admin.socket", f"has more than the {UNIX_PATH_LIMIT_BYTES} bytes that a Unix socket may have")
        if "\0" in admin.token_file:
            self.refuse("admin.token_file", "must be the path of a file with the token")
        if admin.token_file and not admin.address:
            self.refuse("admin.token_file", 'has no meaning with address = ""')

    def admin(self) -> Admin:
        """Return `[admin]` with a whole path of the token."""
        admin = self.config.admin
        if not admin.token_file:
            return admin
        return replace(admin, token_file=os.path.join(os.path.dirname(self.file), admin.token_file))


def smallest_configurations() -> str:
    """Return, for somebody who has none, the smallest configuration of each kind."""
    return (
        f"The smallest configuration of a chat service:\n\n{SMALLEST_SERVICE}\n"
        f"and that of an edge in front of a server:\n\n{SMALLEST_CONFIG}"
    )


def is_loopback(host: str) -> bool:
    """Say whether a host name or address, as in an Endpoint, is this machine's alone."""
    return host in ("localhost", "::1") or host.startswith("127.")


def host_name(text: str) -> str:
    """Return an IP address or a host name as it stands in certificates; ValueError for anything else."""
    return parse_address(f"[{text}]:1" if ":" in text else f"{text}:1").host


def certificate_name(text: str) -> str:
    """Return "example.org" or "*.example.org" in the form that stands in certificates; ValueError for anything else."""
    wildcard = "*." if text.startswith("*.") else ""
    return wildcard + ascii_domain(normalise_domain(text.removeprefix("*.")))


def _nearest(name: str, names: list[str]) -> str:
    near = difflib.get_close_matches(name, names, 1)
    if near:
        return f'; did you mean "{near[0]}"?'
    return f"; there is {', '.join(names[:10])}"
