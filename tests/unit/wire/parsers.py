"""Three XML parsers that streams meet on servers, asked alike: what do you see in each piece of this stream?"""

import atexit
import functools
import struct
import subprocess
from collections.abc import Callable, Sequence
from pathlib import Path
from xml.parsers import expat

from lxml import etree

# What each piece contained: "header:stream", "element:message" (as it ended), "end". The last list holds "error", and
# no more pieces follow, if the parser refused.
Sight = list[list[str]]
ERROR = "error"
DRIVER = Path(__file__).with_name("p1_xml.escript")


def local(name: str) -> str:
    return name.rpartition("}")[2].rpartition(" ")[2].rpartition(":")[2]


def ask_expat(pieces: Sequence[bytes]) -> Sight:
    """libexpat with namespaces."""
    parser = expat.ParserCreate(namespace_separator=" ")
    if hasattr(parser, "SetReparseDeferralEnabled"):
        parser.SetReparseDeferralEnabled(False)
    said: list[str] = []
    depth = 0

    def start(name: str, _: object) -> None:
        nonlocal depth
        depth += 1
        if depth == 1:
            said.append(f"header:{local(name)}")

    def end(name: str) -> None:
        nonlocal depth
        depth -= 1
        if depth < 2:
            said.append(f"element:{local(name)}" if depth else "end")

    parser.StartElementHandler, parser.EndElementHandler = start, end
    sight = []
    for piece in pieces:
        said = []
        sight.append(said)
        try:
            parser.Parse(piece, False)
        except (expat.ExpatError, ValueError):  # the latter for encodings that it does not know
            said.append(ERROR)
            break
    return sight


def ask_libxml2(pieces: Sequence[bytes]) -> Sight:
    """libxml2 through lxml's feed parser; whatever it calls an error is one, even where it would go on."""
    parser = etree.XMLPullParser(events=("start", "end"), resolve_entities=False, huge_tree=False, no_network=True)
    depth = 0
    sight = []
    for piece in pieces:
        said: list[str] = []
        sight.append(said)
        failed = False
        try:
            parser.feed(piece)
        except etree.XMLSyntaxError:
            failed = True
        for event, element in parser.read_events():
            depth += 1 if event == "start" else -1
            if event == "start" and depth == 1:
                said.append(f"header:{local(element.tag)}")
            elif event == "end" and depth < 2:
                said.append(f"element:{local(element.tag)}" if depth else "end")
        if failed or any(entry.level > etree.ErrorLevels.WARNING for entry in parser.feed_error_log):
            said.append(ERROR)
            break
    return sight


@functools.cache
def _erlang() -> subprocess.Popen[bytes]:
    process = subprocess.Popen(["escript", DRIVER], stdin=subprocess.PIPE, stdout=subprocess.PIPE)
    assert process.stdin is not None
    atexit.register(process.wait)
    atexit.register(process.stdin.close)
    return process


def ask_p1_xml(pieces: Sequence[bytes]) -> Sight:
    """ejabberd's fxml_stream, in one Erlang node for the whole test run."""
    process = _erlang()
    assert process.stdin is not None
    assert process.stdout is not None
    request = b"".join(struct.pack(">I", len(piece)) + piece for piece in pieces)
    process.stdin.write(struct.pack(">I", len(request)) + request)
    process.stdin.flush()
    (length,) = struct.unpack(">I", process.stdout.read(4))
    answer = process.stdout.read(length).decode()
    return [line.split() for line in answer.split("\n")]


PARSERS: dict[str, Callable[[Sequence[bytes]], Sight]] = {
    "expat": ask_expat,
    "libxml2": ask_libxml2,
    "p1_xml": ask_p1_xml,
}
