"""Compiles the Cython packages; everything else about the build is in pyproject.toml."""

import os
from pathlib import Path

from Cython.Build import cythonize
from setuptools import Extension, setup

NEEDS_OPENSSL = {
    *(f"megaphone/sockets/{name}.pyx" for name in ("tls", "tls_bio", "tls_contexts", "tls_secrets", "tls_tickets")),
    "loadtest/swarm/engine.pyx",
}
NEEDS_LIBCRYPTO = {f"megaphone/wire/{name}.pyx" for name in ("tls_contexts", "tls_end", "tls_keys", "tls_records")}
# C headers beside the Cython code that includes them.
HEADERS = {
    "megaphone/wire/framer.pyx": ["megaphone/wire/names.h", "megaphone/wire/skip.h"],
    "megaphone/wire/start_tag.pyx": ["megaphone/wire/skip.h"],
    "megaphone/wire/websocket.pyx": ["megaphone/wire/unmask.h", "megaphone/wire/utf8.h"],
}
# C that Cython code is the face of.
CORES = {"loadtest/swarm/engine.pyx": Path("loadtest/swarm/core")}


def core_files(path, pattern):
    """The files of the C core that belongs to this Cython file."""
    return sorted(map(str, CORES[str(path)].glob(pattern))) if str(path) in CORES else []


def libraries(path):
    """The part of OpenSSL that this Cython file is linked with."""
    return ["ssl", "crypto"] if str(path) in NEEDS_OPENSSL else ["crypto"] if str(path) in NEEDS_LIBCRYPTO else []


# The codecs gain from -O3, the rest only compiles longer. Debug symbols cost a third of the time: CFLAGS asks for them.
SYMBOLS = [] if "-g" in os.environ.get("CFLAGS", "") else ["-g0"]

extensions = [
    Extension(
        str(path.with_suffix("")).replace("/", "."),
        [str(path), *core_files(path, "*.c")],
        depends=[*HEADERS.get(str(path), []), *core_files(path, "*.h")],
        include_dirs=[str(path.parent)] if str(path) in HEADERS or str(path) in CORES else [],
        define_macros=[("_GNU_SOURCE", "1")] if str(path) in CORES else [],
        libraries=libraries(path),
        extra_compile_args=[
            "-O3" if path.parent.name == "wire" else "-O2",
            "-fno-strict-aliasing",
            "-Wno-unused-function",
            *SYMBOLS,
        ],
    )
    for package in ("megaphone", "loadtest")
    for path in sorted(Path(package).rglob("*.pyx"))
]

setup(
    ext_modules=cythonize(
        extensions,
        nthreads=2,
        compiler_directives={
            "language_level": "3",
            "boundscheck": False,
            "wraparound": False,
            "cdivision": True,
            "initializedcheck": False,
            "embedsignature": True,
        },
    ),
)
