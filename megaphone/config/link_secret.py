"""The secret of a link: a small file that only its owner reads."""

from megaphone.config.secret_file import read_secret_file
from megaphone.wire.link_messages import SECRET_BYTES


def read_secret(path: str) -> bytes:
    """Return the secret in this file, without one line break at its end; ValueError says why it cannot be used."""
    secret = read_secret_file(path, SECRET_BYTES[1] + 3).removesuffix(b"\n").removesuffix(b"\r")
    if not SECRET_BYTES[0] <= len(secret) <= SECRET_BYTES[1]:
        more = "more than " if len(secret) > SECRET_BYTES[1] else ""
        size = min(len(secret), SECRET_BYTES[1])
        raise ValueError(f"holds {more}{size} bytes instead of {SECRET_BYTES[0]} to {SECRET_BYTES[1]}")
    return secret
