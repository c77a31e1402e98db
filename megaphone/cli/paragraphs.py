"""Help of several paragraphs, as wide as the terminal; lines that begin with a blank, such as lists, stay lines."""

import argparse
import textwrap
from itertools import groupby

_HANGING = " " * 5  # where the text of a list of exit codes begins


class Paragraphs(argparse.HelpFormatter):
    """Wraps the paragraphs of a description or epilog each for itself; argparse's own makes one of them."""

    def _fill_text(self, text: str, width: int, indent: str) -> str:
        filled: list[str] = []
        for kind, lines in groupby(text.strip("\n").splitlines(), _kind):
            if kind == "paragraph":
                filled += textwrap.wrap(" ".join(lines), width, initial_indent=indent, subsequent_indent=indent)
            elif kind == "list":
                for line in lines:
                    filled += textwrap.wrap(line, width, initial_indent=indent, subsequent_indent=indent + _HANGING)
            else:
                filled.append("")
        return "\n".join(filled) + "\n"


def _kind(line: str) -> str:
    return "between" if not line.strip() else "list" if line[0] == " " else "paragraph"
