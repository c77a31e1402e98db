"""Converse.js as it is vendored: every file is the package's, and browsers get it compressed, for ever."""

import gzip
import json
from hashlib import sha256
from pathlib import Path

import pytest

from megaphone.web.converse import answer_compressed, package_routes, read_package, takes_gzip
from megaphone.web.routes import Routes
from megaphone.web.static import file_of
from tests.unit.web.recorded import Recorded

DIRECTORY = Path(__file__).parents[3] / "megaphone" / "web" / "files" / "converse"
LIMIT_BYTES = 5_000_000
OF_OURS = {"manifest.json", "LICENSE.txt", "COPYRIGHT.txt", "NOTICES.txt"}


def test_every_file_is_what_the_manifest_says_and_no_other_is_there() -> None:
    manifest = json.loads((DIRECTORY / "manifest.json").read_text())
    there = {
        each.relative_to(DIRECTORY).as_posix(): each.read_bytes() for each in DIRECTORY.rglob("*") if each.is_file()
    }
    assert there.keys() - OF_OURS == {f"{name}.gz" for name in manifest["files"]}
    for name, digest in manifest["files"].items():
        assert sha256(gzip.decompress(there[f"{name}.gz"])).hexdigest() == digest, name
    assert sum(map(len, there.values())) < LIMIT_BYTES


def test_the_licences_are_there() -> None:
    manifest = json.loads((DIRECTORY / "manifest.json").read_text())
    assert manifest["license"] == "MPL-2.0"
    assert "Mozilla Public License Version 2.0" in (DIRECTORY / "LICENSE.txt").read_text()
    notices = (DIRECTORY / "NOTICES.txt").read_text()
    for bundled in ("strophe.js: MIT", "lit: BSD-3-Clause", "dompurify: ", "bootstrap: MIT", "SIL Open Font License"):
        assert bundled in notices


def test_the_version_of_the_manifest_is_that_of_the_code() -> None:
    package = read_package()
    code = gzip.decompress(package.files["converse.min.js"])
    assert f'"v{package.version}"'.encode() in code


def test_each_file_has_a_path_that_names_the_version() -> None:
    package = read_package()
    routes = Routes(package_routes(package, f"/chat/{package.version}/"))
    found = routes.find(f"/chat/{package.version}/converse.min.js")
    assert found is not None
    asked = Recorded("GET", "/", {b"accept-encoding": b"br, gzip"})
    found.take(asked)
    assert asked.status == 200
    assert asked.fields[b"Content-Type"] == b"text/javascript; charset=utf-8"
    assert asked.fields[b"Content-Encoding"] == b"gzip"
    assert asked.fields[b"Vary"] == b"Accept-Encoding"
    assert b"immutable" in asked.fields[b"Cache-Control"]
    assert routes.find(f"/chat/{package.version}/../converse.min.js") is None


def test_who_takes_no_gzip_gets_it_plain_with_another_tag() -> None:
    file = file_of(gzip.compress(b"text"), "a.js")
    compressed, plain = Recorded("GET", "/", {b"accept-encoding": b"gzip"}), Recorded("GET", "/", {})
    answer_compressed(compressed, file)
    answer_compressed(plain, file)
    assert gzip.decompress(compressed.body) == plain.body == b"text"
    assert b"Content-Encoding" not in plain.fields
    assert plain.fields[b"ETag"] != compressed.fields[b"ETag"]
    known = Recorded("GET", "/", {b"accept-encoding": b"gzip", b"if-none-match": compressed.fields[b"ETag"]})
    answer_compressed(known, file)
    assert known.status == 304


@pytest.mark.parametrize(
    ("accepted", "taken"),
    [
        (b"gzip", True),
        (b"GZIP, deflate;q=0.5", True),
        (b"br;q=1.0, gzip;q=0.8, *;q=0.1", True),
        (b"*", True),
        (b"gzip;q=0", False),
        (b"gzip; q=0.000", False),
        (b"*;q=0", False),
        (b"identity", False),
        (b"", False),
    ],
)
def test_accept_encoding(accepted: bytes, taken: bool) -> None:
    assert takes_gzip(accepted) is taken
