"""Compiles what the benchmarks need, when its sources have changed: C programs and a Cython module."""

import importlib.util
import os
import shlex
import subprocess
import sys
from collections.abc import Iterable
from pathlib import Path
from types import ModuleType

HERE = Path(__file__).parent
ROOT = HERE.parents[1]
BUILD = ROOT / "build" / "bench"

# Builds one extension here, with the directives of the project's setup.py that change the code.
SETUP = """
import sys
from Cython.Build import cythonize
from setuptools import Extension, setup
name, source, root, headers = sys.argv[1:]
extension = Extension(name, [source], include_dirs=[headers], extra_compile_args=["-O3", "-fno-strict-aliasing"])
directives = {"language_level": "3", "boundscheck": False, "wraparound": False, "cdivision": True}
setup(
    ext_modules=cythonize([extension], compiler_directives=directives, include_path=[root], build_dir="c", quiet=True),
    script_args=["-q", "build_ext", "--build-lib", ".", "--build-temp", "c"],
)
"""


def _stale(target: Path, sources: Iterable[Path]) -> bool:
    BUILD.mkdir(parents=True, exist_ok=True)
    return not target.exists() or target.stat().st_mtime < max(path.stat().st_mtime for path in sources)


def program(name: str, directory: str = "swarm", libraries: Iterable[str] = ("ssl", "crypto")) -> Path:
    """The program compiled from `directory`/`name`.c; CalledProcessError if the compiler refuses."""
    return _compiled(BUILD / name, HERE / directory / f"{name}.c", [f"-l{library}" for library in libraries])


def shared_library(name: str, directory: str) -> Path:
    """The library compiled from `directory`/`name`.c, to be preloaded."""
    return _compiled(BUILD / f"lib{name}.so", HERE / directory / f"{name}.c", ["-shared", "-fPIC", "-fno-builtin"])


def _compiled(target: Path, source: Path, options: list[str]) -> Path:
    if _stale(target, source.parent.glob("*.[ch]")):
        compiler = shlex.split(os.environ.get("CC", "cc"))
        subprocess.run([*compiler, "-O2", "-Wall", "-Wextra", "-o", target, source, *options], check=True)
    return target


def extension(name: str, uses: Iterable[str] = ("sockets/tls.p*", "sockets/openssl.pxd")) -> ModuleType:
    """The module compiled from engines/`name`.pyx against modules of Megaphone, whose sources are `uses`."""
    source = HERE / "engines" / f"{name}.pyx"
    target = BUILD / f"{name}.so"
    headers = HERE / "swarm"
    used = [path for pattern in uses for path in (ROOT / "megaphone").glob(pattern)]
    if _stale(target, [source, *headers.glob("*.h"), *used]):
        subprocess.run([sys.executable, "-c", SETUP, name, source, ROOT, headers], cwd=BUILD, check=True)
        next(BUILD.glob(f"{name}.cpython-*.so")).replace(target)
    spec = importlib.util.spec_from_file_location(name, target)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module
