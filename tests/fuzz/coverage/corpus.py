"""The kept inputs of each target: a text file with one input a line, escaped as in Python's bytes."""

from collections.abc import Iterable
from pathlib import Path

CORPUS = Path(__file__).parents[1] / "corpus"


def read(target: str) -> list[bytes]:
    """The inputs kept for a target; none if there is no file."""
    path = CORPUS / f"{target}.txt"
    lines = path.read_text("ascii").splitlines()[1:] if path.exists() else []
    return [line.encode("ascii").decode("unicode_escape").encode("latin-1") for line in lines]


def write(target: str, inputs: Iterable[bytes]) -> None:
    """Keeps these inputs and no others, in an order that does not depend on theirs."""
    lines = sorted(data.decode("latin-1").encode("unicode_escape").decode("ascii") for data in set(inputs))
    title = f"# Inputs of the fuzz target {target}, one a line; made by `make fuzz WHAT={target}`."
    CORPUS.mkdir(exist_ok=True)
    (CORPUS / f"{target}.txt").write_text("\n".join([title, *lines, ""]), "ascii")
