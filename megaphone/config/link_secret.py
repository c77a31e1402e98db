"""The secret of a link: a small file that only its owner reads."""

import os
import stat

from megaphone.wire.link_messages import SECRET_BYTES


def read_secret(path: str) -> bytes:
    """Return the secret in this file, without one line break at its end; ValueError says why it cannot be used."""
    try:
        with open(path, "rb") as opened:
            mode = os.fstat(opened.fileno()).st_mode
            secret = opened.read(SECRET_BYTES[1] + 3)
    except (OSError, ValueError) as error:  # ValueError: a zero byte in the path
        raise ValueError(f"cannot be read: {error.strerror if isinstance(error, OSError) else error}") from None
    if mode & stat.S_IROTH:
        raise ValueError(f"can be read by every user of this machine; use chmod {mode & 0o770:o}")
    secret = secret.removesuffix(b"\n").removesuffix(b"\r")
    if not SECRET_BYTES[0] <= len(secret) <= SECRET_BYTES[1]:
        more = "more than " if len(secret) > SECRET_BYTES[1] else ""
        size = min(len(secret), SECRET_BYTES[1])
        raise ValueError(f"holds {more}{size} bytes instead of {SECRET_BYTES[0]} to {SECRET_BYTES[1]}")
    return secret
