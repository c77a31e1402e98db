"""Reads first-level elements that are no stanzas: stream management (XEP-0198) and client state (XEP-0352)."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING
from xml.etree.ElementTree import ParseError

from megaphone.stream.stanza import parse

if TYPE_CHECKING:
    from xml.etree.ElementTree import Element

SM_NAMESPACE = "urn:xmpp:sm:3"
CSI_NAMESPACE = "urn:xmpp:csi:0"
PREVID_LIMIT_CHARACTERS = 256

# The two that come all the time, as most clients write them: they need no tree.
_REQUESTS = frozenset((b"<r xmlns='urn:xmpp:sm:3'/>", b'<r xmlns="urn:xmpp:sm:3"/>', b'<r xmlns="urn:xmpp:sm:3" />'))
_ACK = re.compile(
    rb"""<a(?: xmlns=(?:'urn:xmpp:sm:3'|"urn:xmpp:sm:3")| h=['"]([0-9]{1,10})['"]){2} ?/>""",
)
_UNSIGNED = re.compile(r"\s*([0-9]{1,10})\s*", re.ASCII)


@dataclass(frozen=True, slots=True)
class AckRequest:
    """`<r/>`: how many of my stanzas have you handled? (XEP-0198 section 4)."""


@dataclass(frozen=True, slots=True)
class Ack:
    """`<a/>`: I have handled `h` of your stanzas, modulo 2 to the 32nd."""

    h: int


@dataclass(frozen=True, slots=True)
class Enable:
    """`<enable/>`: manage this stream from here on (section 3); `max_seconds` is the wish for the time to resume."""

    resume: bool
    max_seconds: int | None


@dataclass(frozen=True, slots=True)
class Resume:
    """`<resume/>`: go on with the stream `previd`, of which I have handled `h` of your stanzas (section 5)."""

    previd: str
    h: int


@dataclass(frozen=True, slots=True)
class ClientState:
    """`<active/>` or `<inactive/>` (XEP-0352 section 4)."""

    active: bool


Nonza = AckRequest | Ack | Enable | Resume | ClientState

_ACK_REQUEST = AckRequest()


def read_nonza(data: bytes) -> Nonza | None:
    """Read one whole element below jabber:client; None for what is none of these (answer: unsupported-stanza-type).

    Raises ValueError("bad-format", reason) for one that is not written as its XEP says; that is the stream error.
    """
    if data in _REQUESTS:
        return _ACK_REQUEST
    found = _ACK.fullmatch(data)
    if found is not None and found[1] is not None and b"xmlns" in data:
        return Ack(_within_32_bits(int(found[1])))
    try:
        return nonza_of(parse(data))
    except ParseError:
        raise ValueError("bad-format", "The element cannot be read") from None


def nonza_of(element: Element) -> Nonza | None:
    """Read an element that is parsed already, as `read_nonza` does."""
    match element.tag:
        case "{urn:xmpp:sm:3}r":
            return _ACK_REQUEST
        case "{urn:xmpp:sm:3}a":
            return Ack(_number(element, "h"))
        case "{urn:xmpp:sm:3}enable":
            wish = None if element.get("max") is None else _number(element, "max")
            return Enable(element.get("resume", "").strip() in ("true", "1"), wish)
        case "{urn:xmpp:sm:3}resume":
            previd = element.get("previd", "")
            if not 0 < len(previd) <= PREVID_LIMIT_CHARACTERS:
                raise ValueError("bad-format", f"previd has 1 to {PREVID_LIMIT_CHARACTERS} characters")
            return Resume(previd, _number(element, "h"))
        case "{urn:xmpp:csi:0}active":
            return ClientState(True)
        case "{urn:xmpp:csi:0}inactive":
            return ClientState(False)
    return None


def _number(element: Element, name: str) -> int:
    found = _UNSIGNED.fullmatch(element.get(name, ""))
    if found is None:
        raise ValueError("bad-format", f"{name} is a number from 0 to 4294967295")
    return _within_32_bits(int(found[1]))


def _within_32_bits(number: int) -> int:
    if number >= 1 << 32:
        raise ValueError("bad-format", "a count is a number from 0 to 4294967295")
    return number
