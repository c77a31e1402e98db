"""What the configuration needs from this machine: certificates, OpenSSL's opinion, sockets, directories, a database."""

import os
import stat
import time
from collections.abc import Iterator

from megaphone.bus.nats_access import read_servers
from megaphone.config.admin_token import read_admin_token
from megaphone.config.certificates import CertificateFacts, CertificateProblem, look_into
from megaphone.config.cluster_rules import read_access
from megaphone.config.link_secret import read_secret
from megaphone.config.rules import is_loopback
from megaphone.config.schema import Config, Upstream
from megaphone.config.token_keys import read_token_keys
from megaphone.errors import ConfigError, StorageError, TLSError
from megaphone.sockets.endpoint import Endpoint, is_ip_address, parse_address
from megaphone.sockets.tls_contexts import ClientContext, TLSContext
from megaphone.storage import database
from megaphone.stream.domain import ascii_domain

EXPIRY_NOTICE_DAYS = 14


def check_environment(config: Config, file: str = "configuration") -> tuple[str, ...]:
    """Return warnings, each "key: what will bite"; ConfigError for what Megaphone cannot start with.

    Looks at files, never at the network: a server that is down, or a name that does not resolve yet, is no mistake in
    the configuration.
    """
    facts = [_certificate(config, file, index) for index in range(len(config.certificate))]
    _check_tls(config, file)
    for index, upstream in enumerate(config.upstream):
        check_upstream_socket(parse_address(upstream.address), f"upstream[{index}].address", file)
        if upstream.mode == "link":
            link_secret(upstream, index, file)
            link_tls(upstream, index, file)
    if config.embedded:
        read_token_keys(config, file)
        _check_data(config, file)
        if config.cluster is not None:
            read_access(config.cluster, file)
    return (
        *_certificate_warnings(config, facts),
        *_domain_warnings(config, facts),
        *_unused_upstreams(config),
        *_cluster_warnings(config),
        *check_admin(config, file),
    )


def _certificate(config: Config, file: str, index: int) -> CertificateFacts:
    certificate = config.certificate[index]
    try:
        return look_into(certificate.chain, certificate.key)
    except CertificateProblem as problem:
        raise ConfigError(file, f"certificate[{index}].{problem.field}", problem.reason) from None


def _check_tls(config: Config, file: str) -> None:
    """Let OpenSSL judge the two lists that only OpenSSL can read."""
    tls = config.tls
    for certificate in config.certificate[:1]:
        try:
            TLSContext(certificate.chain, certificate.key, ciphers=tls.ciphers)
        except TLSError as error:
            raise ConfigError(file, "tls.ciphers", str(error)) from None
        try:
            TLSContext(certificate.chain, certificate.key, groups=tls.groups)
        except TLSError as error:
            raise ConfigError(file, "tls.groups", str(error)) from None


def check_upstream_socket(endpoint: Endpoint, key: str, file: str) -> None:
    """Raise ConfigError for a Unix socket that this user cannot connect to."""
    if endpoint.path is None:
        return
    try:
        mode = os.stat(endpoint.path).st_mode
    except OSError as error:
        raise ConfigError(file, key, f"cannot reach {endpoint.path}: {error.strerror}") from None
    if not stat.S_ISSOCK(mode):
        raise ConfigError(file, key, f"cannot connect to {endpoint.path}: it is not a socket")
    if not os.access(endpoint.path, os.W_OK, effective_ids=True):
        raise ConfigError(file, key, f"cannot connect to {endpoint.path}: this user may not write to it")


def link_secret(upstream: Upstream, index: int, file: str) -> bytes:
    """Return the secret of an upstream's links; ConfigError if it cannot be used."""
    try:
        return read_secret(upstream.secret_file)
    except ValueError as error:
        raise ConfigError(file, f"upstream[{index}].secret_file", f"{upstream.secret_file}: {error}") from None


def link_tls(upstream: Upstream, index: int, file: str) -> ClientContext | None:
    """Return what an upstream's links need for mutual TLS, None without; ConfigError if it cannot be used."""
    if not upstream.ca:
        return None
    host = upstream.server_name or parse_address(upstream.address).host
    try:
        return ClientContext(upstream.ca, upstream.certificate, upstream.key, host, is_ip_address(host))
    except TLSError as error:
        raise ConfigError(file, f"upstream[{index}].ca", str(error)) from None


def _check_data(config: Config, file: str) -> None:
    """Look at the database, or at where its directory will be made."""
    directory = config.service.data
    existing = directory
    while not os.path.lexists(existing):
        existing = os.path.dirname(existing) or "."
    if not os.path.isdir(existing):
        raise ConfigError(file, "service.data", f"cannot be {directory}: {existing} is not a directory")
    if not os.access(existing, os.W_OK | os.X_OK, effective_ids=True):
        missing = "" if existing == directory else f", and {directory} does not exist"
        raise ConfigError(file, "service.data", f"this user may not create files in {existing}{missing}")
    try:
        database.inspect(directory)
    except StorageError as error:
        raise ConfigError(file, "service.data", str(error)) from None


def _certificate_warnings(config: Config, facts: list[CertificateFacts]) -> Iterator[str]:
    for index, (certificate, found) in enumerate(zip(config.certificate, facts, strict=True)):
        key = f"certificate[{index}].chain"
        if found.problem:
            yield f"{key}: {certificate.chain}: {found.problem}"
        elif found.expires_unix_seconds is not None:
            days = (found.expires_unix_seconds - time.time()) / 86_400
            if days < EXPIRY_NOTICE_DAYS:
                yield f"{key}: {certificate.chain}: expires in {days:.1f} days"


def _domain_warnings(config: Config, facts: list[CertificateFacts]) -> Iterator[str]:
    """Clients check the certificate against the domain of the JID (RFC 6120 section 13.7.2.1)."""
    if not facts or any(found.problem for found in facts):
        return
    for index, domain in enumerate(config.domain):
        name = ascii_domain(domain.name)
        wildcard = f"*.{name.partition('.')[2]}"
        configured = any(name in each.names or wildcard in each.names for each in config.certificate)
        if not configured and not any(found.covers(name) for found in facts):
            yield f"domain[{index}].name: no certificate is for {name}, so clients will not trust the connection"


def _unused_upstreams(config: Config) -> Iterator[str]:
    used = {name for domain in config.domain for name in domain.upstreams}
    for index, upstream in enumerate(config.upstream):
        if upstream.name not in used:
            yield f'upstream[{index}].name: no domain uses "{upstream.name}"'


def _cluster_warnings(config: Config) -> Iterator[str]:
    for index, text in enumerate(() if config.cluster is None else config.cluster.servers):
        (server,) = read_servers(text)
        if not server.tls and not is_loopback(server.host):
            yield f"cluster.servers[{index}]: unless NATS asks for TLS, what is said to {server} can be read on the way"


def check_admin(config: Config, file: str) -> Iterator[str]:
    """Yield warnings about `[admin]`; ConfigError if the token cannot be used or the control socket not created."""
    if config.admin.token_file:
        try:
            read_admin_token(config.admin.token_file)
        except ValueError as error:
            raise ConfigError(file, "admin.token_file", f"{config.admin.token_file}: {error}") from None
    if config.admin.address:
        host = parse_address(config.admin.address).host
        if not (host in ("localhost", "::1") or host.startswith("127.")):
            yield f"admin.address: {config.admin.address} can be read from outside this machine, without a password"
    directory = os.path.dirname(config.admin.socket)
    existing = directory
    while not os.path.lexists(existing):
        existing = os.path.dirname(existing)
    if not os.path.isdir(existing):
        raise ConfigError(file, "admin.socket", f"cannot be created: {existing} is not a directory")
    if not os.access(existing, os.W_OK | os.X_OK, effective_ids=True):
        missing = "" if existing == directory else f", and {directory} does not exist"
        yield f"admin.socket: this user may not create files in {existing}{missing}"
