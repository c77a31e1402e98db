"""Whom a proxy serves: the client's address, and whether it has TLS (RFC 7239, X-Forwarded-For, X-Forwarded-Proto).

Only proxies of `websocket.forwarded_from` are believed, and only in the field of `websocket.forwarded_header`: each
adds whom it heard from at its end, so it is read from there until an address is none of theirs.
"""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Iterable
from typing import TYPE_CHECKING

from megaphone.sockets.client_address import address_bytes, in_networks

if TYPE_CHECKING:
    from megaphone.edge.limits import WebSocketLimits

# Parameters of an element of Forwarded (RFC 7239 section 4); "for" is quoted where it has a colon.
_FOR = re.compile(r'(?:^|;)\s*for=(?:"([^"\\]*)"|([^;,"\s]+))', re.IGNORECASE)
_HTTPS = re.compile(r'(?:^|;)\s*proto="?https"?\s*(?:;|$)', re.IGNORECASE)


def client_of(address: bytes, headers: Iterable[tuple[bytes, bytes]], settings: WebSocketLimits) -> tuple[bytes, bool]:
    """Return the 16-byte address of who asks, and whether a trusted proxy says that there is TLS before it.

    `address` is that of the connection. What is not known is the nearest that is; without a trusted proxy it is False.
    """
    if not in_networks(address, settings.forwarded_ranges):
        return address, False
    fields = list(headers)
    of_rfc = settings.forwarded_header == b"forwarded"
    secured = not of_rfc and _elements(fields, b"x-forwarded-proto")[-1].strip().lower() == "https"
    for element in reversed(_elements(fields, settings.forwarded_header)):
        # what stands before a stranger's address is his own invention
        if not in_networks(address, settings.forwarded_ranges):
            break
        if of_rfc:
            secured = _HTTPS.search(element) is not None
        found = _address_in(element, of_rfc=of_rfc)
        if found is None:
            break
        address = found
    return address, secured


def _elements(headers: list[tuple[bytes, bytes]], field: bytes) -> list[str]:
    values = [value.decode("latin-1") for name, value in headers if name.lower() == field]
    return ",".join(values).split(",")


def _address_in(element: str, *, of_rfc: bool) -> bytes | None:
    text = element.strip()
    if of_rfc:
        match = _FOR.search(text)
        text = "" if match is None else match[1] or match[2] or ""
    if text.startswith("["):
        text = text[1:].partition("]")[0]
    elif text.count(":") == 1:
        text = text.partition(":")[0]
    try:
        return address_bytes(str(ipaddress.ip_address(text)))
    except ValueError:
        return None
