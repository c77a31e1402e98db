"""Which program this is, or is to be: how it is started, its version, and a fingerprint of the files it is made of."""

import os
import site
import sys
from collections.abc import Mapping
from functools import cache
from hashlib import sha256
from pathlib import Path
from typing import Annotated, Final

from msgspec import Meta, Struct

import megaphone
from megaphone import __version__

MODULE: Final = "megaphone.supervisor"
_PARTS: Final = (".py", ".so")

_Text = Annotated[str, Meta(max_length=4096)]


class Program(Struct, frozen=True):
    """A Megaphone that is installed somewhere on this machine."""

    command: Annotated[list[_Text], Meta(min_length=1, max_length=16)]  # `check FD` or `resume FD` is appended
    python_path: _Text = ""  # PYTHONPATH that it needs
    version: _Text = ""
    fingerprint: _Text = ""

    def environment(self, ours: Mapping[str, str]) -> dict[str, str]:
        """Our environment, but with it `command` finds this program and none in the directory that we are in."""
        found = {name: value for name, value in ours.items() if name != "PYTHONPATH"}
        found["PYTHONSAFEPATH"] = "1"
        if self.python_path:
            found["PYTHONPATH"] = self.python_path
        return found

    def is_same_as(self, other: "Program") -> bool:
        """Whether both are made of the same files, as far as one can see without reading them."""
        return (self.version, self.fingerprint) == (other.version, other.fingerprint)


def fingerprint(package: Path) -> str:
    """A number for the files of an installed package: another one when one of them was replaced.

    It is made of their names, sizes and times of change, so it costs a few milliseconds.
    """
    found = sha256()
    for path in sorted(path for path in package.rglob("*") if path.suffix in _PARTS):
        facts = path.stat()
        found.update(f"{path.relative_to(package)}\0{facts.st_size}\0{facts.st_mtime_ns}\n".encode())
    return found.hexdigest()[:16]


@cache
def running() -> Program:
    """The program of this process, as its files were when this was first asked."""
    return installed()


def installed() -> Program:
    """The program of this process, as its files are now."""
    package = Path(megaphone.__file__).parent
    return Program(
        command=[sys.executable, "-m", MODULE],
        python_path=_python_path(str(package.parent)),
        version=__version__,
        fingerprint=fingerprint(package),
    )


def _python_path(directory: str) -> str:
    """PYTHONPATH with which an interpreter finds the package in this directory, wherever it is started."""
    given = os.environ.get("PYTHONPATH", "")
    places = [*site.getsitepackages(), site.getusersitepackages(), *given.split(os.pathsep)]
    if directory in places:
        return given
    return os.pathsep.join(filter(None, [directory, given]))
