"""Compiles the Cython packages; everything else about the build is in pyproject.toml."""

from pathlib import Path

from Cython.Build import cythonize
from setuptools import Extension, setup

NEEDS_OPENSSL = {"megaphone/sockets/tls.pyx"}
# C headers beside the Cython code that includes them.
HEADERS = {
    "megaphone/wire/framer.pyx": ["megaphone/wire/names.h", "megaphone/wire/skip.h"],
    "megaphone/wire/start_tag.pyx": ["megaphone/wire/skip.h"],
    "megaphone/wire/websocket.pyx": ["megaphone/wire/unmask.h", "megaphone/wire/utf8.h"],
}

extensions = [
    Extension(
        str(path.with_suffix("")).replace("/", "."),
        [str(path)],
        depends=HEADERS.get(str(path), []),
        include_dirs=[str(path.parent)] if str(path) in HEADERS else [],
        libraries=["ssl", "crypto"] if str(path) in NEEDS_OPENSSL else [],
        extra_compile_args=["-O3", "-fno-strict-aliasing", "-Wno-unused-function"],
    )
    for path in sorted(Path("megaphone").rglob("*.pyx"))
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
