"""What people and keys are called among peers: clean names, names that are the same, fingerprints, old port numbers."""

from __future__ import annotations

from functools import cache
from hashlib import sha1, sha256
from typing import Any, Final

from precis_i18n import get_profile

NAME_LIMIT_BYTES: Final = 64
FINGERPRINT_BYTES: Final = 16  # 128 bits: nobody finds a second key for them
SHORT_FINGERPRINT_BYTES: Final = 4  # to tell two keys apart at a glance, not to recognise one

_FIRST_PORT: Final = 1024
_LAST_PORT: Final = 65535


def clean_name(text: str) -> str:
    """Return a name as the Nickname profile spells it (RFC 8266); ValueError for what is none, or has over 64 bytes."""
    return _enforced("NicknameCasePreserved", text)


def name_key(text: str) -> str:
    """Return what two names share if people would take them for the same: no case, no doubled blanks. ValueError."""
    return _enforced("NicknameCaseMapped", text)


def _enforced(profile: str, text: str) -> str:
    if len(text) > NAME_LIMIT_BYTES:
        raise ValueError(f"a name has at most {NAME_LIMIT_BYTES} bytes")
    try:
        name: str = _profile(profile).enforce(text)
    except UnicodeError:
        raise ValueError(f"{text!r} holds a character that no name may have, or is empty") from None
    if len(name.encode()) > NAME_LIMIT_BYTES:
        raise ValueError(f"a name has at most {NAME_LIMIT_BYTES} bytes")
    return name


@cache
def _profile(name: str) -> Any:
    return get_profile(name)


def fingerprint(key: bytes) -> str:
    """Return what people compare to recognise a key: 128 bits of its SHA-256, as "4f2a 91c3 …" (8 groups)."""
    digits = fingerprint_digits(key)
    return " ".join(digits[start : start + 4] for start in range(0, len(digits), 4))


def fingerprint_digits(key: bytes) -> str:
    """Return the same without blanks, 32 digits: what DNS-SD tells (TXT `node=`)."""
    return sha256(key).hexdigest()[: 2 * FINGERPRINT_BYTES]


def short_fingerprint(key: bytes) -> str:
    """Return the first two groups of a fingerprint."""
    return fingerprint(key)[: 2 * SHORT_FINGERPRINT_BYTES + 1]


def hash_to_port(name: str) -> int:
    """Return the TCP port, 1024 to 65534, that the npm package `hash-to-port` gives a name.

    Peers of the workshop chat found each other by it. Here it is the port that a new peer tries first, and the one of
    `NAME.local` when nothing tells a better one.
    """
    digest = sha1(name.encode(), usedforsecurity=False).digest()
    number = int.from_bytes(digest[:2], "big") * 0xFFFFFFFF + int.from_bytes(digest[2:6], "big")
    return number % (_LAST_PORT - _FIRST_PORT) + _FIRST_PORT
