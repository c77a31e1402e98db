"""Where the NATS servers of a cluster are, and how we show them who we are: password, token, nkey; TLS."""

from __future__ import annotations

import base64
import binascii
import re
import ssl
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import urlsplit

from megaphone.errors import BusError

DEFAULT_PORT = 4222
SERVERS_LIMIT = 64

_HOST = re.compile(r"[^\s/\\]+")
_CLUSTER = re.compile(r"[A-Za-z0-9_-]{1,32}")
# A seed (NATS's nkeys): base32 of two bytes that say "seed" and whose, 32 bytes, and a CRC-16 of those before it.
_SEED_PREFIX = 18 << 3
_USER_PREFIX = 20 << 3
_SEED_BYTES = 2 + 32 + 2


@dataclass(frozen=True, slots=True)
class Server:
    """One server of the list; `tls` if we speak nothing but TLS to it."""

    host: str
    port: int
    tls: bool = False

    def __str__(self) -> str:
        host = f"[{self.host}]" if ":" in self.host else self.host
        return f"{'tls' if self.tls else 'nats'}://{host}:{self.port}"


@dataclass(frozen=True, slots=True)
class Access:
    """How to reach the servers of a cluster; secrets are not shown. Of password, token and nkey one is used, if any.

    `nkey_file` has a user's seed (SU...). `ca`, `certificate` and `key` are PEM files; "" for the system's authorities
    and no certificate of ours.
    """

    servers: tuple[Server, ...]
    user: str = ""
    password: str = field(default="", repr=False)
    token: str = field(default="", repr=False)
    nkey_file: str = ""
    ca: str = ""
    certificate: str = ""
    key: str = ""

    def ssl_context(self) -> ssl.SSLContext:
        """Return what TLS to the servers begins with. BusError for files that cannot be used."""
        try:
            context = ssl.create_default_context(cafile=self.ca or None)
            if self.certificate:
                context.load_cert_chain(self.certificate, self.key or None)
        except (OSError, ssl.SSLError) as error:
            raise BusError(f"TLS to NATS: {self.ca or self.certificate}: {error}") from None
        return context

    def login(self, nonce: str) -> dict[str, Any]:
        """Return the fields of CONNECT that say who we are; `nonce` is the server's, to be signed with the nkey."""
        if self.nkey_file:
            return _sign_nonce(self.nkey_file, nonce)
        if self.token:
            return {"auth_token": self.token}
        if self.user:
            return {"user": self.user, "pass": self.password}
        return {}


def read_servers(urls: str) -> tuple[Server, ...]:
    """Read `nats://host:4222,tls://[::1]:4222`; BusError if that is no list of 1 to 64 servers."""
    servers = tuple(_read_server(url.strip()) for url in urls.split(","))
    if len(servers) > SERVERS_LIMIT:
        raise BusError(f"more than {SERVERS_LIMIT} NATS servers")
    return servers


def _read_server(url: str) -> Server:
    try:
        parts = urlsplit(url if "://" in url else f"nats://{url}")
        port = parts.port
    except ValueError as error:
        raise BusError(f"no URL of a NATS server: {error}") from None
    if parts.username is not None:
        raise BusError("the URL of a NATS server has no user or password: these are settings of their own")
    if (
        parts.scheme not in ("nats", "tls")
        or not parts.hostname
        or not _HOST.fullmatch(parts.hostname)
        or parts.path not in ("", "/")
        or parts.query
    ):
        raise BusError(f"no URL of a NATS server: {url!r} (nats://host:port or tls://host:port)")
    return Server(parts.hostname, DEFAULT_PORT if port is None else port, parts.scheme == "tls")


def check_cluster(name: str) -> str:
    """Return the name of a cluster. BusError unless it is 1 to 32 of A-Z, a-z, 0-9, _ and -."""
    if _CLUSTER.fullmatch(name) is None:
        raise BusError(f"no name of a cluster: {name[:40]!r} (1 to 32 letters, digits, _ and -)")
    return name


def _sign_nonce(path: str, nonce: str) -> dict[str, Any]:
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
    from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

    key = Ed25519PrivateKey.from_private_bytes(read_nkey_file(path))
    public = bytes([_USER_PREFIX]) + key.public_key().public_bytes(Encoding.Raw, PublicFormat.Raw)
    signature = base64.urlsafe_b64encode(key.sign(nonce.encode())).rstrip(b"=")
    return {"nkey": encode_nkey(public), "sig": signature.decode()}


def read_nkey_file(path: str) -> bytes:
    """Return the 32 bytes of the private key in a file with a user's seed (SU...). BusError if it is none."""
    try:
        with open(path, encoding="ascii") as file:
            text = file.read(1024).strip()
        decoded = base64.b32decode(text + "=" * (-len(text) % 8))
    except (OSError, ValueError) as error:
        reason = error.strerror if isinstance(error, OSError) else "not an nkey seed (SU...)"
        raise BusError(f"{path}: {reason}") from None
    kind = (decoded[0] & 7) << 5 | decoded[1] >> 3 if len(decoded) == _SEED_BYTES else -1
    checked = len(decoded) == _SEED_BYTES and decoded[-2:] == _checksum(decoded[:-2])
    if not checked or decoded[0] & 0xF8 != _SEED_PREFIX or kind != _USER_PREFIX:
        raise BusError(f"{path}: not an nkey seed of a user (SU...)")
    return decoded[2:-2]


def encode_nkey(prefixed: bytes) -> str:
    """Return a key in NATS's text form; its first bytes say what it is."""
    return base64.b32encode(prefixed + _checksum(prefixed)).rstrip(b"=").decode()


def _checksum(data: bytes) -> bytes:
    return binascii.crc_hqx(data, 0).to_bytes(2, "little")
