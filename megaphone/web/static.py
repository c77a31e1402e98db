"""Files of ours over HTTP: read once, at the start, and served from memory with types, validators and no surprises."""

from __future__ import annotations

import gzip
import mimetypes
from collections.abc import Iterator, Mapping
from functools import partial
from hashlib import sha256
from importlib.resources.abc import Traversable
from pathlib import PurePosixPath

import msgspec

from megaphone.web.exchange import Exchange, Headers
from megaphone.web.routes import Route

# What Python knows depends on the machine; this does not.
_TYPES = {
    ".html": b"text/html; charset=utf-8",
    ".css": b"text/css; charset=utf-8",
    ".js": b"text/javascript; charset=utf-8",
    ".mjs": b"text/javascript; charset=utf-8",
    ".json": b"application/json",
    ".map": b"application/json",
    ".svg": b"image/svg+xml",
    ".png": b"image/png",
    ".jpg": b"image/jpeg",
    ".webp": b"image/webp",
    ".ico": b"image/vnd.microsoft.icon",
    ".woff2": b"font/woff2",
    ".woff": b"font/woff",
    ".ttf": b"font/ttf",
    ".wasm": b"application/wasm",
    ".mp3": b"audio/mpeg",
    ".ogg": b"audio/ogg",
    ".txt": b"text/plain; charset=utf-8",
    ".webmanifest": b"application/manifest+json",
}
_READS = frozenset({"GET"})


class File(msgspec.Struct, frozen=True):
    """One file as it is served."""

    body: bytes
    content_type: bytes
    tag: bytes
    """Its entity tag (RFC 9110 section 8.8.3), quotes and all."""
    gzipped: bool = False
    """`body` is compressed; a client that does not take that gets it decompressed."""


def read_file(source: Traversable) -> File:
    """Return one file; its type is that of its name, without ".gz"."""
    return file_of(source.read_bytes(), source.name)


def file_of(body: bytes, name: str) -> File:
    """Return these bytes as a file of this name; a name that ends with ".gz" says that they are compressed."""
    plain = name.removesuffix(".gz")
    suffix = PurePosixPath(plain).suffix.lower()
    guessed = mimetypes.guess_type(plain)[0] or "application/octet-stream"
    content_type = _TYPES.get(suffix, guessed.encode())
    return File(body, content_type, b'"%b"' % sha256(body).hexdigest()[:32].encode(), plain != name)


def read_directory(source: Traversable) -> dict[str, File]:
    """Return all files below a directory of the package, by their path in it ("a/b.js"), without ".gz"."""
    return dict(_walk(source, ""))


def _walk(source: Traversable, prefix: str) -> Iterator[tuple[str, File]]:
    for entry in source.iterdir():
        if entry.is_dir():
            yield from _walk(entry, f"{prefix}{entry.name}/")
        elif entry.is_file() and not entry.name.endswith((".py", ".pyc")):
            yield f"{prefix}{entry.name.removesuffix('.gz')}", read_file(entry)


def answer_file(exchange: Exchange, file: File, headers: Headers = (), *, cache: bytes = b"no-cache") -> None:
    """Answer with a file, or 304 if the client has it (RFC 9110 section 13.1.2). `cache` is for Cache-Control."""
    fields = [(b"ETag", file.tag), (b"Cache-Control", cache), *headers]
    if file.gzipped:
        fields.append((b"Vary", b"Accept-Encoding"))
    known = exchange.request.header(b"if-none-match") or b""
    if file.tag in (tag.strip().removeprefix(b"W/") for tag in known.split(b",")) or known.strip() == b"*":
        exchange.answer(304, fields)
    elif file.gzipped and not _takes_gzip(exchange):
        exchange.answer(200, [(b"Content-Type", file.content_type), *fields], gzip.decompress(file.body))
    else:
        if file.gzipped:
            fields.append((b"Content-Encoding", b"gzip"))
        exchange.answer(200, [(b"Content-Type", file.content_type), *fields], file.body)


def _takes_gzip(exchange: Exchange) -> bool:
    """Whether the client names gzip (RFC 9110 section 12.5.3), and not to refuse it."""
    accepted = exchange.request.header(b"accept-encoding") or b""
    for coding in accepted.lower().split(b","):
        name, _, weight = coding.replace(b" ", b"").partition(b";q=")
        if name in (b"gzip", b"x-gzip"):
            return weight.strip(b"0.") != b"" or not weight
    return False


def file_route(path: str, file: File, headers: Headers = (), *, cache: bytes = b"no-cache") -> Route:
    """Return the route of one file."""
    return Route(path, _READS, partial(answer_file, file=file, headers=tuple(headers), cache=cache))


def file_routes(
    prefix: str, files: Mapping[str, File], headers: Headers = (), *, cache: bytes = b"no-cache"
) -> Iterator[Route]:
    """Return the routes of files below `prefix`, which ends with "/"."""
    for name, file in files.items():
        yield file_route(prefix + name, file, headers, cache=cache)
