"""Reads and writes the SASL elements of a stream (RFC 6120 section 6): auth, challenge, response, success, failure."""

from __future__ import annotations

import binascii
from dataclasses import dataclass
from typing import TYPE_CHECKING

from megaphone.errors import SASLError
from megaphone.wire.writer import escape

if TYPE_CHECKING:
    from xml.etree.ElementTree import Element

SASL_NAMESPACE = "urn:ietf:params:xml:ns:xmpp-sasl"
CHANNEL_BINDING_NAMESPACE = "urn:xmpp:sasl-cb:0"

MESSAGE_LIMIT_BYTES = 16_384  # of one SASL message after base64; a signed token is the longest that has a meaning

# RFC 6120 section 6.5.
FAILURE_CONDITIONS = frozenset(
    {
        "aborted",
        "account-disabled",
        "credentials-expired",
        "encryption-required",
        "incorrect-encoding",
        "invalid-authzid",
        "invalid-mechanism",
        "malformed-request",
        "mechanism-too-weak",
        "not-authorized",
        "temporary-auth-failure",
    }
)


@dataclass(frozen=True, slots=True)
class Auth:
    """`<auth/>`: the client chose a mechanism; `message` is its initial response, None if there is none."""

    mechanism: str
    message: bytes | None


@dataclass(frozen=True, slots=True)
class Response:
    """`<response/>`: the answer to a challenge."""

    message: bytes


@dataclass(frozen=True, slots=True)
class Abort:
    """`<abort/>`: the client gives up (section 6.4.4)."""


def read_sasl(element: Element) -> Auth | Response | Abort | None:
    """Read one element of the SASL namespace; None for a name that no client sends.

    Raises SASLError: incorrect-encoding (section 6.5.5), malformed-request (6.5.8), invalid-mechanism (6.5.7).
    """
    name = element.tag.removeprefix("{" + SASL_NAMESPACE + "}")
    if name == "abort":
        return Abort()
    if name not in ("auth", "response"):
        return None
    if len(element):
        raise SASLError("malformed-request", f"<{name}/> has no child elements")
    message = _decoded(element.text or "")
    if name == "response":
        return Response(message or b"")
    mechanism = element.get("mechanism")
    if mechanism is None:
        raise SASLError("invalid-mechanism", "The attribute mechanism is missing")
    return Auth(mechanism, message)


def _decoded(text: str) -> bytes | None:
    """Return what base64 `text` stands for: None for nothing at all, b"" for "=" (section 6.4.2)."""
    if text in ("", "="):
        return b"" if text else None
    if len(text) > MESSAGE_LIMIT_BYTES * 4 // 3 + 4:
        raise SASLError("malformed-request", f"A SASL message has at most {MESSAGE_LIMIT_BYTES} bytes")
    try:
        return binascii.a2b_base64(text, strict_mode=True)
    except ValueError:  # binascii.Error, and text outside ASCII
        raise SASLError("incorrect-encoding", "The data is not base64") from None


def _encoded(message: bytes) -> bytes:
    return binascii.b2a_base64(message, newline=False) or b"="


def challenge(message: bytes) -> bytes:
    """Return a `<challenge/>`; an empty one asks for the initial response (section 6.4.3)."""
    content = _encoded(message) if message else b""
    return b"<challenge xmlns='urn:ietf:params:xml:ns:xmpp-sasl'>%b</challenge>" % content


def success(message: bytes | None = None) -> bytes:
    """Return a `<success/>` with the mechanism's last data, if it has any (section 6.4.6)."""
    if message is None:
        return b"<success xmlns='urn:ietf:params:xml:ns:xmpp-sasl'/>"
    return b"<success xmlns='urn:ietf:params:xml:ns:xmpp-sasl'>%b</success>" % _encoded(message)


def failure(condition: str, text: str = "") -> bytes:
    """Return a `<failure/>` (section 6.4.5); `text` is for people, in English.

    Raises ValueError for a condition that section 6.5 does not define.
    """
    if condition not in FAILURE_CONDITIONS:
        raise ValueError(f"{condition!r} is not a failure condition of RFC 6120 section 6.5")
    text_element = b"<text xml:lang='en'>%b</text>" % escape(text) if text else b""
    return b"<failure xmlns='urn:ietf:params:xml:ns:xmpp-sasl'><%b/>%b</failure>" % (condition.encode(), text_element)


def mechanisms_feature(mechanisms: tuple[str, ...], bindings: tuple[str, ...] = ()) -> bytes:
    """Return the feature that offers `mechanisms` (section 6.4.1), and the types of channel binding (XEP-0440)."""
    offered = b"".join(b"<mechanism>%b</mechanism>" % escape(each) for each in mechanisms)
    feature = b"<mechanisms xmlns='urn:ietf:params:xml:ns:xmpp-sasl'>%b</mechanisms>" % offered
    if bindings:
        types = b"".join(b"<channel-binding type='%b'/>" % escape(each) for each in bindings)
        feature += b"<sasl-channel-binding xmlns='urn:xmpp:sasl-cb:0'>%b</sasl-channel-binding>" % types
    return feature
