"""The compiled modules are those of the sources that lie beside them, and their stubs tell the truth about them."""

import ast
import importlib
import re
from collections.abc import Iterator
from enum import IntEnum
from pathlib import Path
from types import ModuleType

import pytest

import loadtest.swarm
import megaphone
from megaphone.wire.framer import STATE_BYTES

PACKAGE = Path(megaphone.__file__).parent
SWARM = Path(loadtest.swarm.__file__).parent
SOURCES = sorted(PACKAGE.rglob("*.pyx")) + sorted(SWARM.rglob("*.pyx"))
CIMPORTED = re.compile(r"^\s*(?:from\s+(megaphone(?:\.\w+)+)\s+cimport|cimport\s+(megaphone(?:\.\w+)+))", re.MULTILINE)


def module_of(source: Path) -> str:
    return ".".join(source.relative_to(PACKAGE.parent).with_suffix("").parts)


def extension_of(source: Path) -> Path | None:
    """The newest extension beside the source."""
    found = sorted(source.parent.glob(f"{source.stem}.*.so"), key=lambda path: path.stat().st_mtime)
    return found[-1] if found else None


def sources_behind(source: Path) -> set[Path]:
    """The source, and all outlines that it sees, directly or through others; of the swarm also its C."""
    seen: set[Path] = {*SWARM.glob("*.pxi"), *SWARM.glob("core/*.[ch]")} if source.parent == SWARM else set()
    waiting = [source, source.with_suffix(".pxd")]
    while waiting:
        path = waiting.pop()
        if path in seen or not path.exists():
            continue
        seen.add(path)
        for names in CIMPORTED.findall(path.read_text()):
            waiting.append((PACKAGE.parent / Path(*"".join(names).split("."))).with_suffix(".pxd"))
    return seen


# --- extensions and sources ---


def test_there_are_sources() -> None:
    assert len(SOURCES) > 10
    assert PACKAGE / "dispatch" / "mailbox.pxd" in sources_behind(PACKAGE / "uplink" / "direct.pyx")


@pytest.mark.parametrize("source", SOURCES, ids=module_of)
def test_extensions_are_not_older_than_their_sources(source: Path) -> None:
    extension = extension_of(source)
    build = "run: python setup.py build_ext --inplace"
    if extension is None:
        pytest.fail(f"{module_of(source)} is not compiled; {build}")
    newest = max(sources_behind(source), key=lambda path: path.stat().st_mtime)
    if extension.stat().st_mtime < newest.stat().st_mtime:
        pytest.fail(f"{extension.name} is older than {newest.relative_to(PACKAGE.parent)}; {build}")
    assert Path(str(importlib.import_module(module_of(source)).__file__)) == extension


def test_a_directions_state_fits_a_cache_line() -> None:
    assert STATE_BYTES <= 64


# --- stubs ---

STUBS = [source.with_suffix(".pyi") for source in SOURCES if source.with_suffix(".pyi").exists()]


def stub_enums(stub: Path) -> Iterator[tuple[str, dict[str, int]]]:
    """The enumerations of a stub, with their members."""
    for node in ast.parse(stub.read_text()).body:
        if isinstance(node, ast.ClassDef) and any(isinstance(b, ast.Name) and b.id == "IntEnum" for b in node.bases):
            yield (
                node.name,
                {
                    target.id: ast.literal_eval(line.value)
                    for line in node.body
                    if isinstance(line, ast.Assign)
                    for target in line.targets
                    if isinstance(target, ast.Name)
                },
            )


def stub_names(body: list[ast.stmt]) -> Iterator[str]:
    """What a stub says there is, in a module or in a class."""
    for node in body:
        if isinstance(node, ast.FunctionDef | ast.ClassDef):
            yield node.name
        elif isinstance(node, ast.AnnAssign) and isinstance(node.target, ast.Name):
            yield node.target.id


ENUMS = [(stub, name, members) for stub in STUBS for name, members in stub_enums(stub)]


@pytest.mark.parametrize(
    ("stub", "name", "members"), ENUMS, ids=[f"{module_of(stub)}.{name}" for stub, name, _ in ENUMS]
)
def test_enumerations_are_what_their_stub_says(stub: Path, name: str, members: dict[str, int]) -> None:
    compiled = getattr(importlib.import_module(module_of(stub)), name)
    assert issubclass(compiled, IntEnum)
    assert {member.name: member.value for member in compiled} == members


def test_the_enumerations_that_others_rely_on_have_stubs() -> None:
    assert {name for _, name, _ in ENUMS} >= {"Kind", "Reason", "Slot", "UpstreamSlot", "Event", "Error", "Element"}


@pytest.mark.parametrize("stub", STUBS, ids=module_of)
def test_everything_in_a_stub_exists(stub: Path) -> None:
    module: ModuleType = importlib.import_module(module_of(stub))
    tree = ast.parse(stub.read_text())
    missing = [name for name in stub_names(tree.body) if not hasattr(module, name)]
    for node in tree.body:
        if isinstance(node, ast.ClassDef) and hasattr(module, node.name):
            compiled = getattr(module, node.name)
            missing += [f"{node.name}.{name}" for name in stub_names(node.body) if not hasattr(compiled, name)]
    assert missing == []
