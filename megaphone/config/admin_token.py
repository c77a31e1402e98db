"""The token that an operator shows on the admin address to do more than look at numbers."""

import re
from typing import Final

from megaphone.config.secret_file import read_secret_file

TOKEN_BYTES: Final = (16, 512)  # fewest: 128 bits in base64 would be 22, a guess needs all of them
_TOKEN: Final = re.compile(rb"[A-Za-z0-9._~+/=-]+")  # what may stand after Bearer (RFC 6750 section 2.1)


def read_admin_token(path: str) -> bytes:
    """Return the token in this file, without white space around it; ValueError says why it cannot be used."""
    token = read_secret_file(path, TOKEN_BYTES[1] + 16).strip()
    if not TOKEN_BYTES[0] <= len(token) <= TOKEN_BYTES[1]:
        raise ValueError(f"holds no token of {TOKEN_BYTES[0]} to {TOKEN_BYTES[1]} bytes")
    if not _TOKEN.fullmatch(token):
        raise ValueError("holds other characters than letters, digits and -._~+/=, which is all a token may have")
    return token
