"""What the keys of `[cluster]` must be, and how NATS is reached with them."""

import os.path
import socket
import ssl
from typing import NoReturn

from msgspec.structs import replace

from megaphone.bus.nats_access import SERVERS_LIMIT, Access, Server, check_cluster, read_nkey_file, read_servers
from megaphone.config.schema import Cluster
from megaphone.errors import BusError, ConfigError

NODE_NAME_LIMIT = 64
SECRET_LIMIT_BYTES = 4096

_PATHS = ("password_file", "token_file", "nkey_file", "ca", "certificate", "key")


def cluster_rules(cluster: Cluster, file: str) -> Cluster:
    """Return `[cluster]` with whole paths; ConfigError for a broken rule."""

    def refuse(key: str, reason: str) -> NoReturn:
        raise ConfigError(file, f"cluster.{key}", reason)

    try:
        check_cluster(cluster.name)
    except BusError as error:
        refuse("name", str(error))
    if not 1 <= len(cluster.servers) <= SERVERS_LIMIT:
        refuse("servers", f'must name 1 to {SERVERS_LIMIT} servers of NATS, as in ["nats://127.0.0.1:4222"]')
    for index, text in enumerate(cluster.servers):
        try:
            if len(read_servers(text)) != 1:
                refuse(f"servers[{index}]", "names several; write each as a text of its own")
        except BusError as error:
            refuse(f"servers[{index}]", str(error))
    name = cluster.node_name
    if not name.isprintable() or name != name.strip() or len(name) > NODE_NAME_LIMIT or "," in name:
        refuse("node_name", f"must be 1 to {NODE_NAME_LIMIT} printable characters without a comma: people see it")
    if bool(cluster.user) != bool(cluster.password_file):
        refuse("password_file" if cluster.user else "user", 'is missing: "user" and "password_file" belong together')
    logins = [key for key in ("user", "token_file", "nkey_file") if getattr(cluster, key)]
    if len(logins) > 1:
        refuse(logins[1], f'is one way to log in to NATS, and "{logins[0]}" is another')
    if bool(cluster.certificate) != bool(cluster.key):
        refuse("key" if cluster.certificate else "certificate", 'is missing: "certificate" and "key" belong together')
    directory = os.path.dirname(file)
    for key in _PATHS:
        if "\0" in getattr(cluster, key):
            refuse(key, "must be the path of a file")
    whole = {key: os.path.join(directory, getattr(cluster, key)) for key in _PATHS if getattr(cluster, key)}
    return replace(cluster, **whole)


def read_access(cluster: Cluster, file: str) -> Access:
    """Return how NATS is reached, with the secrets of the files. ConfigError if they cannot be used."""
    servers = tuple(_server(text) for text in cluster.servers)
    secrets = {}
    for key in ("password_file", "token_file"):
        path = getattr(cluster, key)
        secrets[key] = _first_line(path, f"cluster.{key}", file) if path else ""
    if cluster.nkey_file:
        try:
            read_nkey_file(cluster.nkey_file)
        except BusError as error:
            raise ConfigError(file, "cluster.nkey_file", str(error)) from None
    access = Access(
        servers,
        user=cluster.user,
        password=secrets["password_file"],
        token=secrets["token_file"],
        nkey_file=cluster.nkey_file,
        ca=cluster.ca,
        certificate=cluster.certificate,
        key=cluster.key,
    )
    _check_tls(cluster, file)
    return access


def node_name(cluster: Cluster) -> str:
    """Return what people see of this node: its host name unless the configuration has another."""
    return cluster.node_name or socket.gethostname()[:NODE_NAME_LIMIT] or "node"


def _server(text: str) -> Server:
    (server,) = read_servers(text)
    return server


def _check_tls(cluster: Cluster, file: str) -> None:
    for key in ("ca", "certificate"):
        path = getattr(cluster, key)
        try:
            if path and key == "ca":
                ssl.create_default_context(cafile=path)
            elif path:
                ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT).load_cert_chain(path, cluster.key)
        except (OSError, ssl.SSLError) as error:
            raise ConfigError(file, f"cluster.{key}", f"{path}: {error}") from None


def _first_line(path: str, key: str, file: str) -> str:
    try:
        with open(path, encoding="utf-8") as opened:
            line = opened.readline(SECRET_LIMIT_BYTES).rstrip("\r\n")
    except (OSError, UnicodeDecodeError) as error:
        reason = error.strerror if isinstance(error, OSError) else "is not UTF-8"
        raise ConfigError(file, key, f"{path}: {reason}") from None
    if not line:
        raise ConfigError(file, key, f"{path}: the first line is empty")
    return line
