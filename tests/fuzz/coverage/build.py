"""Compiles the targets, and for fuzzer and sanitizers the codecs too: each kind of build in a directory of its own."""

import fcntl
import functools
import importlib.util
import logging
import os
import shutil
import subprocess
import sys
import sysconfig
from pathlib import Path
from types import ModuleType
from typing import Any

HERE = Path(__file__).parent
ROOT = HERE.parents[2]
BUILD = ROOT / "build" / "fuzz"
TARGETS = sorted(path.stem for path in (HERE / "targets").glob("*.pyx"))
CODECS = "megaphone.wire"
# What else the targets read with: Python, which is compiled as well, so that a fuzzer sees which branches it takes.
PURE = Path("megaphone", "history")
AS_IT_IS = [Path("megaphone"), Path("megaphone", "stream")]  # and what is copied beside them

SANITIZED = ["-fsanitize=address,undefined", "-fno-sanitize-recover=undefined", "-fno-omit-frame-pointer", "-g1"]
# Kind of build: compiler, options for the codecs (None: those in place are used), options for targets.
KINDS: dict[str, tuple[str, list[str] | None, list[str]]] = {
    "plain": ("cc", None, ["-O1"]),
    "sanitized": ("gcc", [*SANITIZED, "-O1"], [*SANITIZED, "-O1"]),
    "guided": ("clang", [*SANITIZED, "-fsanitize=fuzzer-no-link", "-O2"], [*SANITIZED, "-O2"]),
}


@functools.cache
def built(kind: str) -> Path:
    """Compiles what has changed; the directory to import it from. CalledProcessError if a compiler refuses."""
    BUILD.mkdir(parents=True, exist_ok=True)
    compiler = KINDS[kind][0]
    with (BUILD / "lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        command = [sys.executable, "-W", "ignore", "-m", __spec__.name, kind]
        subprocess.run(command, cwd=ROOT, env={**os.environ, "CC": os.environ.get("CC", compiler)}, check=True)
    return BUILD / kind


def target(name: str) -> ModuleType:
    """A target as a module; its `run` checks one input. FUZZ_BUILD names the kind of a build made before."""
    kind = os.environ.get("FUZZ_BUILD", "plain")
    directory = built(kind) if kind == "plain" else BUILD / kind
    path = directory / f"target_{name}{sysconfig.get_config_var('EXT_SUFFIX')}"
    spec = importlib.util.spec_from_file_location(f"target_{name}", path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def compile_codecs(directory: Path, options: list[str]) -> None:
    """Compiles the project's own extensions with more options, and puts what is not compiled beside them."""
    from distutils.core import run_setup

    project = run_setup("setup.py", stop_after="init")
    compile_extensions(
        project, [each for each in project.ext_modules if each.name.startswith(f"{CODECS}.")], directory, options
    )
    compile_pure(directory, options)
    for path in [*AS_IT_IS, Path(*CODECS.split(".")), PURE]:
        (directory / path).mkdir(parents=True, exist_ok=True)
        for source in path.glob("*.py"):
            shutil.copyfile(source, directory / source)


def compile_pure(directory: Path, options: list[str]) -> None:
    """Compiles Python as it is, and what of it is Cython already."""
    from Cython.Build import cythonize
    from setuptools import Distribution, Extension

    sources = [path for path in PURE.glob("*.py*") if path.suffix in (".py", ".pyx") and path.stem != "__init__"]
    modules = cythonize(
        [Extension(".".join(path.with_suffix("").parts), [str(path)]) for path in sources],
        compiler_directives={"language_level": "3", "annotation_typing": False},
        build_dir=str(BUILD / "c"),
        quiet=True,
    )
    compile_extensions(Distribution(), modules, directory, options)


def compile_targets(directory: Path, options: list[str]) -> None:
    """Compiles the targets."""
    from Cython.Build import cythonize
    from setuptools import Distribution, Extension

    sources = HERE / "targets"
    extensions = [
        Extension(
            f"target_{name}",
            [str((sources / f"{name}.pyx").relative_to(ROOT))],
            include_dirs=["/usr/include/libxml2"],
            libraries=["expat", "xml2"],
            depends=[str(path) for path in sources.glob("*.p*")],
        )
        for name in TARGETS
    ]
    modules = cythonize(
        extensions,
        compiler_directives={"language_level": "3"},
        include_path=[str(sources), str(ROOT)],
        build_dir=str(BUILD / "c"),
        quiet=True,
    )
    compile_extensions(Distribution(), modules, directory, options)


def compile_extensions(project: Any, extensions: list[Any], directory: Path, options: list[str]) -> None:
    """Runs setuptools' compiler for these extensions of a project."""
    for extension in extensions:
        extension.extra_compile_args += [*options, "-Wno-unused-function", "-Wno-unreachable-code"]
        extension.extra_link_args += options
    project.ext_modules = extensions
    project.verbose = 0
    command = project.get_command_obj("build_ext")
    command.build_lib, command.build_temp = str(directory), str(directory / "objects")
    command.parallel = 2
    command.ensure_finalized()
    command.run()


def link_fuzzer(directory: Path) -> None:
    """Links libFuzzer, the sanitizers and Python to one program."""
    settings = sysconfig.get_config_vars()
    shared = settings["Py_ENABLE_SHARED"]
    library = Path(settings["LIBDIR" if shared else "LIBPL"])
    command = [
        *("clang", "-fsanitize=fuzzer,address,undefined", "-O1", "-g1", "-rdynamic", f"-I{settings['INCLUDEPY']}"),
        *(HERE / "driver.c", "-o", directory / "fuzzer", f"-L{library}", f"-lpython{settings['LDVERSION']}"),
        *([f"-Wl,-rpath,{library}"] if shared else []),
        *settings["LIBS"].split(),
        *("-lm", "-ldl"),
    ]
    subprocess.run(command, check=True)


def main() -> None:
    """Compiles one kind of build, in the project's directory."""
    import setuptools  # noqa: F401  provides distutils where Python does not

    logging.disable(logging.INFO)  # each command of the compiler
    kind = sys.argv[1]
    _, codec_options, target_options = KINDS[kind]
    directory = BUILD / kind
    directory.mkdir(parents=True, exist_ok=True)
    if codec_options is not None:
        compile_codecs(directory, codec_options)
    compile_targets(directory, target_options)
    if kind == "guided":
        link_fuzzer(directory)


if __name__ == "__main__":
    main()
