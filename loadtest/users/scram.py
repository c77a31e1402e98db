"""The client's side of SCRAM (RFC 5802, RFC 7677), without channel binding."""

import base64
import hashlib
import hmac
import secrets

HASHES = {"SCRAM-SHA-1": "sha1", "SCRAM-SHA-256": "sha256"}
ITERATIONS_LIMIT = 1_000_000


class ScramError(Exception):
    """The server's part does not fit ours."""


class Scram:
    """One exchange: `first`, then `final` of the server's challenge, then `verify` of its success."""

    def __init__(self, mechanism: str, name: str, password: str) -> None:
        self._hash = HASHES[mechanism]
        self._password = password.encode()
        self._nonce = secrets.token_hex(12)
        self._bare = f"n={name.replace('=', '=3D').replace(',', '=2C')},r={self._nonce}"
        self._signature = b""

    def first(self) -> bytes:
        """The initial response."""
        return f"n,,{self._bare}".encode()

    def final(self, challenge: bytes) -> bytes:
        """The answer to the challenge; ScramError if it is not one for us."""
        try:
            fields = dict(each.split("=", 1) for each in challenge.decode().split(","))
            nonce, salt, rounds = fields["r"], base64.b64decode(fields["s"]), int(fields["i"])
        except (ValueError, KeyError):
            raise ScramError("not a challenge of SCRAM") from None
        if not nonce.startswith(self._nonce) or not 0 < rounds <= ITERATIONS_LIMIT:
            raise ScramError("not a challenge for us")
        salted = hashlib.pbkdf2_hmac(self._hash, self._password, salt, rounds)
        client_key = hmac.digest(salted, b"Client Key", self._hash)
        stored = hashlib.new(self._hash, client_key).digest()
        without_proof = f"c=biws,r={nonce}"
        message = f"{self._bare},{challenge.decode()},{without_proof}".encode()
        signature = hmac.digest(stored, message, self._hash)
        proof = bytes(left ^ right for left, right in zip(client_key, signature, strict=True))
        self._signature = hmac.digest(hmac.digest(salted, b"Server Key", self._hash), message, self._hash)
        return f"{without_proof},p={base64.b64encode(proof).decode()}".encode()

    def verify(self, success: bytes) -> None:
        """ScramError if the server does not know the password either."""
        if success != b"v=" + base64.b64encode(self._signature):
            raise ScramError("wrong signature of the server")
