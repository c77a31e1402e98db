"""The dashboard's files, which a browser gets with the strictest policy: nothing from elsewhere, nothing inline."""

from functools import cache
from pathlib import Path
from typing import Final

from megaphone.supervisor.http import Response

DIRECTORY: Final = Path(__file__).parent / "files"
HEADERS: Final = {
    "Content-Security-Policy": "default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self'; "
    "img-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Permissions-Policy": "camera=(), geolocation=(), microphone=()",
    "Referrer-Policy": "no-referrer",
    "X-Content-Type-Options": "nosniff",
}
_TYPES: Final = {
    ".html": "text/html; charset=utf-8",
    ".js": "text/javascript; charset=utf-8",
    ".css": "text/css; charset=utf-8",
    ".svg": "image/svg+xml",
}
_PREFIX: Final = "/dashboard/"


@cache
def files() -> dict[str, Response]:
    """Path to answer of each file, read once; some 250 kB, and none before somebody looks."""
    found = {
        _PREFIX + path.relative_to(DIRECTORY).as_posix(): Response(200, path.read_bytes(), kind, HEADERS)
        for path in sorted(DIRECTORY.rglob("*"))
        if (kind := _TYPES.get(path.suffix)) is not None
    }
    return {"/": found[_PREFIX + "index.html"], "/dashboard": found[_PREFIX + "index.html"], **found}
