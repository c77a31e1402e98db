"""When a certificate expires: just enough DER (ITU-T X.690) to walk to `notAfter` of RFC 5280's Certificate.

Certificate { tbsCertificate { [0] version, serialNumber, signature, issuer, validity { notBefore, notAfter }, ...
"""

import base64
import binascii
import calendar
import re
import time
from collections.abc import Iterable
from pathlib import Path
from typing import Final

from megaphone.config.schema import Certificate

_PEM: Final = re.compile(rb"-----BEGIN CERTIFICATE-----(.+?)-----END CERTIFICATE-----", re.DOTALL)
_SEQUENCE: Final = 0x30
_VERSION: Final = 0xA0
_UTC_TIME: Final = 0x17
_GENERALIZED_TIME: Final = 0x18


def expiries(certificates: Iterable[Certificate]) -> dict[str, float]:
    """Chain file to the Unix time at which its certificate expires, of those files that can be read."""
    found = {entry.chain: expires_at_seconds(entry.chain) for entry in certificates}
    return {chain: at for chain, at in found.items() if at is not None}


def expires_at_seconds(chain_file: str) -> float | None:
    """Unix time at which the first certificate of a PEM file expires; None when that cannot be read from it."""
    try:
        found = _PEM.search(Path(chain_file).read_bytes())
        return None if found is None else float(not_after(base64.b64decode(found[1])))
    except (OSError, ValueError, binascii.Error):
        return None


def not_after(der: bytes) -> int:
    """Unix time of a DER certificate's `notAfter`; ValueError when it is no certificate."""
    certificate, _ = _element(der, _SEQUENCE)
    fields, _ = _element(certificate, _SEQUENCE)
    if fields[:1] == bytes([_VERSION]):
        _, fields = _element(fields)
    for _ in ("serialNumber", "signature", "issuer"):
        _, fields = _element(fields)
    validity, _ = _element(fields, _SEQUENCE)
    _, validity = _element(validity)
    tag = validity[0] if validity else 0
    text = _element(validity)[0].decode("ascii")
    if tag == _UTC_TIME:
        # RFC 5280 section 4.1.2.5.1: years 50 to 99 are 19xx.
        text = ("19" if text[:2] >= "50" else "20") + text
    elif tag != _GENERALIZED_TIME:
        raise ValueError("notAfter is not a time")
    return calendar.timegm(time.strptime(text, "%Y%m%d%H%M%SZ"))


def _element(data: bytes, tag: int | None = None) -> tuple[bytes, bytes]:
    """The content of the first element, and what follows it."""
    if len(data) < 2 or (tag is not None and data[0] != tag):
        raise ValueError("not a certificate")
    length, start = data[1], 2
    if length >= 0x80:
        count = length & 0x7F
        length, start = int.from_bytes(data[2 : 2 + count], "big"), 2 + count
    if start + length > len(data):
        raise ValueError("the certificate is cut short")
    return data[start : start + length], data[start + length :]
