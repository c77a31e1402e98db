"""Converse.js, as deploy/converse/update.py took it in: its files, compressed, at paths that name its version."""

from __future__ import annotations

import gzip
import json
from collections.abc import Iterator
from functools import partial
from importlib.resources import files
from typing import Final

import msgspec

from megaphone.web.exchange import Exchange, Headers
from megaphone.web.routes import Route
from megaphone.web.static import File, answer_file, file_of, file_route

FOR_EVER: Final = b"public, max-age=31536000, immutable"  # another version has other paths
LICENCES: Final = ("LICENSE.txt", "COPYRIGHT.txt", "NOTICES.txt")
VARY: Final = (b"Vary", b"Accept-Encoding")


class Package(msgspec.Struct, frozen=True):
    """What is there of it."""

    version: str
    files: dict[str, bytes]
    """By the path in the package's dist/; each compressed with gzip."""
    licences: dict[str, bytes]
    """By name: its own licence, and those of what it bundles."""


def read_package() -> Package:
    """Read all of it, so that a later version on the disk is none of ours: less than 2 MB."""
    source = files("megaphone.web").joinpath("files", "converse")
    manifest = json.loads(source.joinpath("manifest.json").read_bytes())
    return Package(
        version=manifest["version"],
        files={name: source.joinpath(f"{name}.gz").read_bytes() for name in manifest["files"]},
        licences={name: source.joinpath(name).read_bytes() for name in LICENCES},
    )


def package_routes(package: Package, prefix: str, headers: Headers = ()) -> Iterator[Route]:
    """Return a route for each file below `prefix`, which ends with "/"."""
    for name, body in package.files.items():
        as_it_is = file_of(body, name)
        take = partial(answer_compressed, file=as_it_is, headers=tuple(headers))
        yield Route(prefix + name, frozenset({"GET"}), take)
    for name, body in package.licences.items():
        yield file_route(prefix + name, file_of(body, name), headers, cache=FOR_EVER)


def answer_compressed(exchange: Exchange, file: File, headers: Headers = ()) -> None:
    """Answer with a file whose body is compressed with gzip; who takes none gets it as it was before."""
    if takes_gzip(exchange.request.header(b"accept-encoding") or b""):
        answer_file(exchange, file, (*headers, VARY, (b"Content-Encoding", b"gzip")), cache=FOR_EVER)
        return
    plain = File(gzip.decompress(file.body), file.content_type, file.tag[:-1] + b'-plain"')
    answer_file(exchange, plain, (*headers, VARY), cache=FOR_EVER)


def takes_gzip(accepted: bytes) -> bool:
    """Whether this value of Accept-Encoding allows gzip (RFC 9110 section 12.5.3)."""
    weights: dict[bytes, bool] = {}
    for each in accepted.lower().split(b","):
        coding, _, weight = each.partition(b";")
        weights[coding.strip()] = weight.strip().removeprefix(b"q=").strip(b"0.") != b"" or not weight.strip()
    return weights.get(b"gzip", weights.get(b"*", False))
