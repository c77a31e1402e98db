"""People for tests: keys that need no file, and their identities."""

from dataclasses import dataclass, field
from functools import cached_property

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat

from megaphone.history.entry import Origin
from megaphone.peers.connection import Ourselves
from megaphone.peers.identity import Identity


@dataclass
class Key:
    """A Signer in memory."""

    private: Ed25519PrivateKey = field(default_factory=Ed25519PrivateKey.generate)

    @cached_property
    def origin(self) -> Origin:
        return Origin(self.private.public_key().public_bytes_raw())

    def sign(self, data: bytes) -> bytes:
        return self.private.sign(data)

    @property
    def pem(self) -> bytes:
        return self.private.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())


def ourselves(name: str, key: Key | None = None, *, port: int = 0, instance: bytes = b"instance") -> Ourselves:
    """Somebody with a name."""
    key = key or Key()
    return Ourselves(Identity(key, key.pem), name, port, instance)
