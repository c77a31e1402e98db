"""Converse.js as it is vendored: every file is what the manifest says, and the licences are there."""

import gzip
import json
from hashlib import sha256
from pathlib import Path

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
    version = json.loads((DIRECTORY / "manifest.json").read_text())["version"]
    assert f'"v{version}"'.encode() in gzip.decompress((DIRECTORY / "converse.min.js.gz").read_bytes())
