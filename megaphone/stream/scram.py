"""The server's side of SCRAM (RFC 5802, RFC 7677), with channel binding or without. Pure: the nonce is given.

    client   n,,n=juliet,r=CNONCE                          who it is, what it thinks of channel binding
    server   r=CNONCE+SNONCE,s=SALT,i=ITERATIONS           how its password was hashed
    client   c=GS2-HEADER+BINDING,r=CNONCE+SNONCE,p=PROOF  the proof that it knows the password
    server   v=SIGNATURE                                   the proof that we know the keys

Whether the client was lied to about channel binding shows in its gs2 header, which the proof covers: "y" says "I could,
you cannot"; if we had offered a -PLUS mechanism, somebody has taken it out of our features (RFC 5802 section 6).
"""

from __future__ import annotations

import binascii
import hashlib
import hmac
import re
from dataclasses import dataclass
from typing import TYPE_CHECKING

from megaphone.errors import SASLError
from megaphone.stream.sasl_messages import GS2Header, malformed, read_gs2_header, read_name, text_of

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

HASHES = {"SCRAM-SHA-1": "sha1", "SCRAM-SHA-256": "sha256"}
PLUS = "-PLUS"
NONCE_LIMIT_CHARACTERS = 256

_EXTENSIONS = r"(?:,[A-Za-z]=[^,\0]+)*"
_NONCE = r"[!-+\--~]+"  # printable ASCII except ","
_CLIENT_FIRST = re.compile(rf"n=([^,\0]+),r=({_NONCE}){_EXTENSIONS}")
_CLIENT_FINAL = re.compile(rf"(c=([A-Za-z0-9+/]+=*),r=({_NONCE}){_EXTENSIONS}),p=([A-Za-z0-9+/]+=*)")


@dataclass(frozen=True, slots=True)
class ScramKeys:
    """What is kept of a password for one hash (RFC 5802 section 3): enough to check a login, not enough to make one."""

    salt: bytes
    iterations: int
    stored_key: bytes
    server_key: bytes


def derive_keys(hash_name: str, password: str, salt: bytes, iterations: int) -> ScramKeys:
    """Return the keys of a password that is prepared already (`saslprep`); costs `iterations` hashes.

    `hash_name` is "sha1" or "sha256".
    """
    salted = hashlib.pbkdf2_hmac(hash_name, password.encode(), salt, iterations)
    client_key = hmac.digest(salted, b"Client Key", hash_name)
    return ScramKeys(
        salt, iterations, hashlib.new(hash_name, client_key).digest(), hmac.digest(salted, b"Server Key", hash_name)
    )


class ScramExchange:
    """One run of SCRAM.

    `mechanism` is a key of HASHES, with PLUS behind it or not. `keys_of(username, authzid)` returns the keys to check
    against and may refuse with SASLError; for a user who does not exist it returns keys that no password has. `nonce`
    is printable ASCII without a comma, unpredictable, of this run alone. `bindings` is the data of each type of channel
    binding that the connection has; `plus_offered` says whether the features named a -PLUS mechanism.
    """

    __slots__ = (
        "_auth_message",
        "_bindings",
        "_gs2",
        "_hash",
        "_keys",
        "_keys_of",
        "_nonce",
        "_plus",
        "_plus_offered",
    )

    def __init__(
        self,
        mechanism: str,
        *,
        keys_of: Callable[[str, str], ScramKeys],
        nonce: str,
        bindings: Mapping[str, bytes],
        plus_offered: bool,
    ) -> None:
        self._hash = HASHES[mechanism.removesuffix(PLUS)]
        self._plus = mechanism.endswith(PLUS)
        self._keys_of = keys_of
        self._nonce = nonce
        self._bindings = bindings
        self._plus_offered = plus_offered
        self._gs2: GS2Header | None = None
        self._keys: ScramKeys | None = None
        self._auth_message = ""

    def receive_first(self, message: bytes) -> bytes:
        """Answer the client-first-message with the server-first-message; SASLError for what cannot go on."""
        self._gs2, bare = read_gs2_header(text_of(message))
        self._check_flag(self._gs2)
        if bare.startswith("m="):  # section 5.1: an extension that must be understood, and none is
            raise malformed("Mandatory SCRAM extensions are not supported")
        found = _CLIENT_FIRST.fullmatch(bare)
        if found is None:
            raise malformed("The message is not a client-first-message of RFC 5802 section 7")
        if len(found[2]) > NONCE_LIMIT_CHARACTERS:
            raise malformed(f"A nonce has at most {NONCE_LIMIT_CHARACTERS} characters")
        self._keys = self._keys_of(read_name(found[1]), self._gs2.authzid)
        self._nonce = found[2] + self._nonce
        salt = binascii.b2a_base64(self._keys.salt, newline=False).decode()
        answer = f"r={self._nonce},s={salt},i={self._keys.iterations}"
        self._auth_message = f"{bare},{answer}"
        return answer.encode()

    def receive_final(self, message: bytes) -> bytes:
        """Check the client-final-message and return the server-final-message; SASLError if the client is refused."""
        if self._gs2 is None or self._keys is None:
            raise RuntimeError("SCRAM has two messages, and this is the second")
        found = _CLIENT_FINAL.fullmatch(text_of(message))
        if found is None:
            raise malformed("The message is not a client-final-message of RFC 5802 section 7")
        without_proof, bound, nonce, proof_text = found.groups()
        expected = self._gs2.text.encode() + self._bindings.get(self._gs2.binding, b"")
        if not hmac.compare_digest(_base64(bound), expected):
            raise SASLError("not-authorized", "The channel binding does not match")
        if not hmac.compare_digest(nonce.encode(), self._nonce.encode()):
            raise SASLError("not-authorized", "The nonce is another one")
        auth_message = f"{self._auth_message},{without_proof}".encode()
        signature = hmac.digest(self._keys.stored_key, auth_message, self._hash)
        proof = _base64(proof_text)
        if len(proof) != len(signature):
            raise malformed("The proof has another length than the hash")
        client_key = bytes(a ^ b for a, b in zip(proof, signature, strict=True))
        if not hmac.compare_digest(hashlib.new(self._hash, client_key).digest(), self._keys.stored_key):
            raise SASLError("not-authorized")
        own = hmac.digest(self._keys.server_key, auth_message, self._hash)
        return b"v=" + binascii.b2a_base64(own, newline=False)

    def _check_flag(self, header: GS2Header) -> None:
        if self._plus != (header.flag == "p"):  # section 6
            raise malformed("A -PLUS mechanism has channel binding, and the others have none")
        if header.flag == "y" and self._plus_offered:
            raise SASLError("not-authorized", "Channel binding was offered here, and somebody has hidden that from you")
        if header.flag == "p" and header.binding not in self._bindings:
            raise SASLError("not-authorized", "This type of channel binding is not offered here")


def _base64(text: str) -> bytes:
    try:
        return binascii.a2b_base64(text, strict_mode=True)
    except ValueError:
        raise malformed("The data inside the message is not base64") from None
