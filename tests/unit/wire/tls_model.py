"""TLS 1.3 records in plain Python over `cryptography`: a second opinion, and a peer that may say anything.

Nothing here is shared with the record layer but RFC 8446: HKDF is written out with `hmac`, and the AEADs are called
through another binding of OpenSSL.
"""

import hmac
from dataclasses import dataclass

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM, ChaCha20Poly1305

ALERT, HANDSHAKE, APPLICATION_DATA = 21, 22, 23
NEW_SESSION_TICKET, KEY_UPDATE = 4, 24

AES_128, AES_256, CHACHA20 = 0x1301, 0x1302, 0x1303
SUITES = (AES_128, AES_256, CHACHA20)
NAMES = {
    AES_128: "TLS_AES_128_GCM_SHA256",
    AES_256: "TLS_AES_256_GCM_SHA384",
    CHACHA20: "TLS_CHACHA20_POLY1305_SHA256",
}
KEY_BYTES = {AES_128: 16, AES_256: 32, CHACHA20: 32}
HASHES = {AES_128: "sha256", AES_256: "sha384", CHACHA20: "sha256"}
SECRET_BYTES = {AES_128: 32, AES_256: 48, CHACHA20: 32}

# RFC 8446 section 6
CLOSE_NOTIFY, UNEXPECTED_MESSAGE, BAD_RECORD_MAC, RECORD_OVERFLOW = 0, 10, 20, 22
HANDSHAKE_FAILURE, ILLEGAL_PARAMETER, DECODE_ERROR, USER_CANCELED = 40, 47, 50, 90


def expand_label(suite: int, secret: bytes, label: bytes, length: int) -> bytes:
    """HKDF-Expand-Label with an empty context (section 7.1); no output here is longer than the hash."""
    info = length.to_bytes(2, "big") + bytes([6 + len(label)]) + b"tls13 " + label + b"\0"
    return hmac.digest(secret, info + b"\1", HASHES[suite])[:length]


@dataclass(slots=True)
class Direction:
    """One direction's keys."""

    suite: int
    secret: bytes
    sequence: int = 0

    @property
    def key(self) -> bytes:
        return expand_label(self.suite, self.secret, b"key", KEY_BYTES[self.suite])

    @property
    def iv(self) -> bytes:
        return expand_label(self.suite, self.secret, b"iv", 12)

    def nonce(self) -> bytes:
        number = int.from_bytes(self.iv, "big") ^ self.sequence
        self.sequence += 1
        return number.to_bytes(12, "big")

    def aead(self) -> AESGCM | ChaCha20Poly1305:
        return ChaCha20Poly1305(self.key) if self.suite == CHACHA20 else AESGCM(self.key)

    def seal(self, kind: int, content: bytes, padding: int = 0) -> bytes:
        """One record, of any size and type."""
        inner = content + bytes([kind]) + bytes(padding)
        header = b"\x17\3\3" + (len(inner) + 16).to_bytes(2, "big")
        return header + self.aead().encrypt(self.nonce(), inner, header)

    def open(self, record: bytes) -> tuple[int, bytes]:
        """The type and the content of one whole record; InvalidTag if it is forged."""
        assert record[0] == 23
        assert len(record) == 5 + int.from_bytes(record[3:5], "big")
        inner = self.aead().decrypt(self.nonce(), record[5:], record[:5]).rstrip(b"\0")
        return inner[-1], inner[:-1]

    def update(self) -> None:
        """Goes on to the next generation (section 7.2)."""
        self.secret = expand_label(self.suite, self.secret, b"traffic upd", SECRET_BYTES[self.suite])
        self.sequence = 0


def key_update(requested: bool) -> bytes:
    return bytes([KEY_UPDATE, 0, 0, 1, requested])


def ticket(length: int) -> bytes:
    """A NewSessionTicket of so many bytes, of which the first four are the header."""
    return bytes([NEW_SESSION_TICKET]) + (length - 4).to_bytes(3, "big") + bytes(length - 4)


def records_of(data: bytes) -> list[bytes]:
    """Whole records, by their headers."""
    records = []
    while data:
        end = 5 + int.from_bytes(data[3:5], "big")
        assert len(data) >= end
        records.append(data[:end])
        data = data[end:]
    return records


@dataclass(slots=True)
class Peer:
    """The other end of a TLSEnd: seals what it says, and understands what that says."""

    incoming: Direction
    outgoing: Direction

    def data(self, content: bytes, padding: int = 0) -> bytes:
        return self.outgoing.seal(APPLICATION_DATA, content, padding)

    def handshake(self, content: bytes, padding: int = 0) -> bytes:
        return self.outgoing.seal(HANDSHAKE, content, padding)

    def alert(self, description: int, level: int = 2) -> bytes:
        return self.outgoing.seal(ALERT, bytes([level, description]))

    def update(self, requested: bool = False) -> bytes:
        """A KeyUpdate; what is said next has the next key."""
        record = self.handshake(key_update(requested))
        self.outgoing.update()
        return record

    def hear(self, data: bytes) -> list[tuple[int, bytes]]:
        """What the records say; a KeyUpdate among them is followed."""
        heard = []
        for record in records_of(data):
            heard.append(self.incoming.open(record))
            if heard[-1][0] == HANDSHAKE and heard[-1][1][0] == KEY_UPDATE:
                self.incoming.update()
        return heard

    def can_hear(self, record: bytes) -> bool:
        try:
            self.incoming.open(record)
        except InvalidTag:
            return False
        return True
