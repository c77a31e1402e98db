"""Small files with a secret, which only their owner and perhaps a group may read."""

import os
import stat


def read_secret_file(path: str, limit_bytes: int) -> bytes:
    """Return up to `limit_bytes` of this file; ValueError if it cannot be read, or by every user of this machine."""
    try:
        with open(path, "rb") as opened:
            mode = os.fstat(opened.fileno()).st_mode
            content = opened.read(limit_bytes)
    except (OSError, ValueError) as error:  # ValueError: a zero byte in the path
        raise ValueError(f"cannot be read: {error.strerror if isinstance(error, OSError) else error}") from None
    if mode & stat.S_IROTH:
        raise ValueError(f"can be read by every user of this machine; use chmod {mode & 0o770:o}")
    return content
