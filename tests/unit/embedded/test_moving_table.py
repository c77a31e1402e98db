"""The table of what becomes of everything the embedded service remembers: nothing in the code is missing there."""

from __future__ import annotations

import ast
import re
from collections import defaultdict
from pathlib import Path

ROOT = Path(__file__).parents[3]
PAGE = ROOT / "docs" / "reference" / "hand-over.md"
PACKAGES = ("embedded", "service", "rooms", "bus")
# What is there for the length of a call or of one hand-over, or only calls others.
OF_CLUSTERS = ("nats", "keys", "members")  # modules of the bus between nodes: the successor connects for itself
PASSING = {
    *("Moving", "MovingUsers", "MovingService", "MovingBus", "Assembled", "Attempt", "Refusal", "Row"),
    *("SessionOutlet", "PythonTaker", "Left", "Splice"),
}
_ROW = re.compile(r"^\| `(\w+)` \| (.+?) \| .+ \|$", re.MULTILINE)
_CDEF = re.compile(r"^    cdef (?!class|inline)(?:readonly |public )?[\w.]+\*?\*? ?\*?(\w+)\s*(?:#.*)?$")


def targets_of(statement: ast.AST) -> list[ast.expr]:
    """What a statement assigns to."""
    match statement:
        case ast.Assign():
            return statement.targets
        case ast.AnnAssign():
            return [statement.target]
    return []


def python_attributes(path: Path) -> dict[str, set[str]]:
    """Attributes of classes that change: those with `__slots__`, or set in `__init__`."""
    found: dict[str, set[str]] = defaultdict(set)
    for node in ast.parse(path.read_text()).body:
        if not isinstance(node, ast.ClassDef):
            continue
        decorators = ast.unparse(ast.Module(body=[*map(ast.Expr, node.decorator_list)], type_ignores=[]))
        bases = {ast.unparse(each) for each in node.bases}
        if "frozen=True" in decorators or bases & {"Protocol", "NamedTuple", "Enum", "IntEnum", "StrEnum"}:
            continue
        for each in ast.walk(node):
            if isinstance(each, ast.FunctionDef) and each.name == "__init__":
                for part in ast.walk(each):
                    for target in targets_of(part):
                        if isinstance(target, ast.Attribute) and ast.unparse(target.value) == "self":
                            found[node.name].add(target.attr)
    return found


def compiled_attributes(path: Path) -> dict[str, set[str]]:
    found: dict[str, set[str]] = defaultdict(set)
    name = ""
    for line in path.read_text().splitlines():
        if begun := re.match(r"cdef class (\w+)", line):
            name = begun[1]
        elif line and not line.startswith(" "):
            name = ""
        elif name and (attribute := _CDEF.match(line)):
            found[name].add(attribute[1])
    return found


def attributes() -> dict[str, set[str]]:
    found: dict[str, set[str]] = defaultdict(set)
    for package in PACKAGES:
        for path in sorted((ROOT / "megaphone" / package).iterdir()):
            if path.stem.startswith(OF_CLUSTERS):
                continue
            read = {".py": python_attributes, ".pyx": compiled_attributes, ".pxd": compiled_attributes}.get(path.suffix)
            for name, own in (read(path) if read is not None else {}).items():
                found[name] |= own
    return {name: own for name, own in found.items() if name not in PASSING and own}


def table() -> dict[str, set[str]]:
    named: dict[str, set[str]] = defaultdict(set)
    for name, cell in _ROW.findall(PAGE.read_text().partition("### What becomes of each")[2]):
        named[name] |= set(re.findall(r"`(\w+)`", cell))
    return dict(named)


def test_everything_that_is_remembered_is_in_the_table() -> None:
    in_code, in_table = attributes(), table()
    missing = {name: sorted(own - in_table.get(name, set())) for name, own in in_code.items()}
    assert {name: own for name, own in missing.items() if own} == {}


def test_nothing_else_is_in_the_table() -> None:
    in_code = attributes()
    gone = {name: sorted(own - in_code.get(name, set())) for name, own in table().items()}
    assert {name: own for name, own in gone.items() if own} == {}
