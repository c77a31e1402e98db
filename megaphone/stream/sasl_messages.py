"""Reads what clients say inside SASL: PLAIN (RFC 4616), OAUTHBEARER (RFC 7628), and the gs2 header (RFC 5801).

Every function raises SASLError("malformed-request") for what does not follow the grammar of its RFC.
"""

import re
from dataclasses import dataclass

from megaphone.errors import SASLError

# RFC 5802 section 7: gs2-header = gs2-cbind-flag "," [ "a=" saslname ] ","
_GS2_HEADER = re.compile(r"(?:([ny])|p=([A-Za-z0-9.-]{1,64})),(?:a=([^,\0]+))?,")
_NOT_AN_ESCAPE = re.compile("=(?!2C|3D)")
_BEARER = re.compile(r"Bearer +([A-Za-z0-9._~+/-]+=*)", re.IGNORECASE)  # RFC 6750 section 2.1


def malformed(text: str) -> SASLError:
    """Return the error for a message that cannot be read."""
    return SASLError("malformed-request", text)


def text_of(message: bytes) -> str:
    """Return a message as text: all mechanisms here speak UTF-8."""
    try:
        return message.decode()
    except UnicodeDecodeError:
        raise malformed("The message is not UTF-8") from None


def read_name(text: str) -> str:
    """Read a saslname (RFC 5802 section 5.1): "=2C" is a comma, "=3D" an equals sign."""
    if _NOT_AN_ESCAPE.search(text):
        raise malformed("An equals sign in a name is written =3D")
    return text.replace("=2C", ",").replace("=3D", "=")


@dataclass(frozen=True, slots=True)
class GS2Header:
    """The header: `flag` is "n" (no binding), "y" (the client could, and believes we cannot) or "p" with a `binding`.

    `text` is the header as it stood, which the end of SCRAM repeats. `authzid` is "" where there is none.
    """

    flag: str
    binding: str
    authzid: str
    text: str


def read_gs2_header(text: str) -> tuple[GS2Header, str]:
    """Return the gs2 header at the beginning of `text`, and the rest."""
    found = _GS2_HEADER.match(text)
    if found is None:
        raise malformed("The message does not begin with a gs2 header")
    flag, binding, authzid = found.groups()
    header = GS2Header(flag or "p", binding or "", read_name(authzid or ""), found[0])
    return header, text[found.end() :]


def read_plain(message: bytes) -> tuple[str, str, str]:
    """Return authzid, username and password of a PLAIN message (RFC 4616 section 2)."""
    parts = text_of(message).split("\0")
    if len(parts) != 3 or not parts[1] or not parts[2]:
        raise malformed("PLAIN is [authzid] NUL username NUL password")
    return parts[0], parts[1], parts[2]


def read_oauthbearer(message: bytes) -> tuple[str, str]:
    """Return authzid and token of an OAUTHBEARER message (RFC 7628 section 3.1); either may be ""."""
    header, rest = read_gs2_header(text_of(message))
    if header.flag == "p":
        raise malformed("OAUTHBEARER has no channel binding")
    # client-resp = (gs2-header kvsep *kvpair kvsep)
    if not rest.startswith("\1") or not rest.endswith("\1\1"):
        raise malformed("The pairs of OAUTHBEARER stand between U+0001")
    token = ""
    for pair in rest[1:-2].split("\1"):
        key, equals, value = pair.partition("=")
        if not equals or not key.isascii() or not key.isalpha():
            raise malformed("OAUTHBEARER holds pairs of key=value")
        if key == "auth":
            bearer = _BEARER.fullmatch(value)
            if bearer is None:
                raise malformed("The value of auth is a bearer token (RFC 6750 section 2.1)")
            token = bearer[1]
    return header.authzid, token
