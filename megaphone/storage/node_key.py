"""The Ed25519 key of a node (RFC 8032): what signs its entries of histories, in a file that only its owner may read.

A file that is there is never replaced: with another key a node is another origin.
"""

from __future__ import annotations

import contextlib
import os
import stat
from functools import lru_cache
from typing import Final

from cryptography.exceptions import InvalidSignature, UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat, load_pem_private_key

from megaphone.errors import ConfigError
from megaphone.history.entry import Origin

LARGEST_BYTES: Final = 16_384
_KNOWN_KEYS: Final = 1024


class NodeKey:
    """A private key: `history.ports.Signer`."""

    __slots__ = ("_key", "origin")

    def __init__(self, key: Ed25519PrivateKey) -> None:
        """`key` is what signs; `open` and `new` make one."""
        self._key = key
        self.origin = Origin(key.public_key().public_bytes_raw())
        """The public key."""

    @classmethod
    def new(cls) -> NodeKey:
        """Return a new key that is in no file."""
        return cls(Ed25519PrivateKey.generate())

    @classmethod
    def open(cls, path: str) -> NodeKey:
        """Read the key of a PEM file, which is made if there is none; ConfigError if it cannot be used or made."""
        try:
            return cls._read(path)
        except FileNotFoundError:
            pass
        except OSError as error:
            raise ConfigError(path, "", f"cannot be read: {error.strerror}") from None
        try:
            cls._write(path)
            return cls._read(path)
        except OSError as error:
            raise ConfigError(path, "", f"cannot be made: {error.strerror}") from None

    @classmethod
    def _read(cls, path: str) -> NodeKey:
        descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK)
        with open(descriptor, "rb") as opened:
            found = os.fstat(descriptor)
            if not stat.S_ISREG(found.st_mode):
                raise ConfigError(path, "", "is not a file")
            if found.st_uid not in (os.geteuid(), 0) and os.geteuid() != 0:
                raise ConfigError(path, "", "belongs to another user")
            if found.st_mode & 0o077:
                mode = stat.S_IMODE(found.st_mode)
                raise ConfigError(path, "", f"may be read by others (mode {mode:04o}): chmod 600, or make a new key")
            data = opened.read(LARGEST_BYTES + 1)
        try:
            key = load_pem_private_key(data, password=None)
        except (ValueError, TypeError, UnsupportedAlgorithm):
            raise ConfigError(path, "", "is no private key in PEM, or has a password") from None
        if not isinstance(key, Ed25519PrivateKey):
            raise ConfigError(path, "", "is no Ed25519 key")
        return cls(key)

    @classmethod
    def _write(cls, path: str) -> None:
        """Make a file whole or not at all; one that somebody else has made meanwhile stays."""
        pem = cls.new()._key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
        directory = os.path.dirname(path) or "."
        os.makedirs(directory, mode=0o700, exist_ok=True)
        temporary = f"{path}.{os.getpid()}-{os.urandom(4).hex()}"
        descriptor = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
        try:
            with open(descriptor, "wb") as opened:
                opened.write(pem)
                if os.geteuid() == 0:
                    owner = os.stat(directory)
                    os.fchown(descriptor, owner.st_uid, owner.st_gid)
                opened.flush()
                os.fsync(descriptor)
            with contextlib.suppress(FileExistsError):
                os.link(temporary, path)
        finally:
            os.unlink(temporary)
        of_directory = os.open(directory, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        try:
            os.fsync(of_directory)
        finally:
            os.close(of_directory)

    def sign(self, data: bytes) -> bytes:
        """Return the Ed25519 signature, 64 bytes."""
        return self._key.sign(data)


@lru_cache(_KNOWN_KEYS)
def _public(key: bytes) -> Ed25519PublicKey:
    return Ed25519PublicKey.from_public_bytes(key)


def verify(key: bytes, signature: bytes, data: bytes) -> bool:
    """Tell whether `signature` is one over `data` by `key` (`history.ports.Verifier`); False if that is no key."""
    try:
        _public(key).verify(signature, data)
    except (InvalidSignature, ValueError, UnsupportedAlgorithm):
        return False
    return True
