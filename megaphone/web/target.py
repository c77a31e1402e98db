"""What a request names: path, query, host (RFC 9110 section 4, RFC 9112 section 3.2)."""

from __future__ import annotations

from urllib.parse import unquote_to_bytes

from megaphone.wire.http_head import HeadRefusedError

_SCHEMES = ("http://", "https://")


def read_target(target: bytes, host: bytes) -> tuple[str, str, str]:
    """Return path (decoded), query (as it came) and host of a request; HeadRefusedError for what names nothing here."""
    text = target.decode("latin-1")
    authority = host.decode("latin-1").strip().lower()
    for scheme in _SCHEMES:
        if text.lower().startswith(scheme):
            authority, slash, rest = text[len(scheme) :].partition("/")
            text, authority = slash + rest or "/", authority.lower()
    raw, _, query = text.partition("?")
    if not raw.startswith("/"):
        raise HeadRefusedError(400, "the request names no path")
    try:
        path = unquote_to_bytes(raw).decode()
    except UnicodeDecodeError:
        raise HeadRefusedError(400, "the path is not UTF-8") from None
    if any(ord(character) < 0x20 or ord(character) == 0x7F for character in path):
        raise HeadRefusedError(400, "the path has control characters")
    if any(segment in (".", "..") for segment in path.replace("\\", "/").split("/")):
        raise HeadRefusedError(400, "the path goes up or nowhere")
    return path, query, authority
