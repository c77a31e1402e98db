"""What `make bench WHAT=wire` says about single stanzas: reading their headers, sending one to many."""

import subprocess
import time
from collections.abc import Callable

from lxml import etree

from megaphone.wire.framer import StreamFramer
from megaphone.wire.rendered import Rendered
from megaphone.wire.stanza_header import read_stanza_header, read_times
from megaphone.wire.writer import escape
from tests.bench.build import program
from tests.bench.report.figure import OURS, Figure, Target
from tests.bench.traffic import HEADER, message

FACTS, LXML, FORMATTING = "expat, facts in C", "lxml XMLPullParser", "bytes formatting"
PASSES = 200_000
STANZAS = {
    "207-byte message": message(1),
    "disco#info request": (
        b"<iq type='get' id='disco1' from='romeo@example.net/orchard' to='example.com'>"
        b"<query xmlns='http://jabber.org/protocol/disco#info' node='https://gajim.org#QgayPKawpkPSDYmwT'/></iq>"
    ),
}
TO, FROM = "nurse@example.net/kitchen", "verona@rooms.example.net/romeo"


def read_nanoseconds(stanza: bytes) -> float:
    """CPU time of reading one header."""
    begun = time.thread_time_ns()
    if not read_times(stanza, PASSES):
        raise RuntimeError(f"refused: {stanza!r}")
    return (time.thread_time_ns() - begun) / PASSES


def framed_nanoseconds(stanza: bytes) -> float:
    """The same with the framer's work before it."""
    framer = StreamFramer()
    framer.scan(HEADER)
    begun = time.thread_time_ns()
    if not framer.scan_times(stanza, PASSES):
        raise RuntimeError(f"refused: {stanza!r}")
    return (time.thread_time_ns() - begun) / PASSES + read_nanoseconds(stanza)


def expat_nanoseconds(stanza: bytes) -> float:
    """CPU time of expat for the same facts, kept in a struct by handlers in C."""
    command = [program("expat_loop", "wire_peers", libraries=("expat",)), "facts", str(PASSES // 4), str(len(HEADER))]
    return float(subprocess.run(command, input=HEADER + stanza, capture_output=True, check=True).stdout)


def lxml_facts(parser: "etree.XMLPullParser[etree._Element]", root: etree._Element, stanza: bytes) -> list[str | None]:
    """The same facts from lxml's element."""
    parser.feed(stanza)
    facts: list[str | None] = []
    for _, element in parser.read_events():
        if element.getparent() is root:
            facts = [element.tag, *map(element.get, ("to", "from", "type", "id")), element[0].tag]
    del root[:]
    return facts


def lxml_nanoseconds(stanza: bytes) -> float:
    """CPU time of lxml for the same facts."""
    parser = etree.XMLPullParser(events=("start", "end"), resolve_entities=False)
    parser.feed(HEADER)
    _, root = next(iter(parser.read_events()))
    expected = read_stanza_header(stanza)
    child = f"{{{expected.child_namespace}}}{expected.child_name}"
    fields = [expected.to, expected.from_, expected.type, expected.id]
    if lxml_facts(parser, root, stanza) != [f"{{{expected.namespace}}}{expected.name}", *fields, child]:
        raise RuntimeError("lxml sees something else")
    passes = PASSES // 20
    begun = time.thread_time_ns()
    for _ in range(passes):
        lxml_facts(parser, root, stanza)
    return (time.thread_time_ns() - begun) / passes


def measure_headers(rounds: int) -> list[Figure]:
    """Nanoseconds for the facts of one stanza; the peers parse all of it, so the framer's work is counted once too."""
    figures = []
    for name, stanza in STANZAS.items():
        alone = Figure(f"header of a framed {name}", "ns", Target("value", 150), digits=0, peers=(FACTS, LXML))
        framed = Figure(f"framing it and reading its header, {name}", "ns", digits=0, peers=(FACTS, LXML))
        for _ in range(rounds):
            alone.add(OURS, read_nanoseconds(stanza))
            framed.add(OURS, framed_nanoseconds(stanza))
            expat, lxml = expat_nanoseconds(stanza), lxml_nanoseconds(stanza)
            for figure in (alone, framed):
                figure.add(FACTS, expat)
                figure.add(LXML, lxml)
        figures += [alone, framed]
    return figures


def each_nanoseconds(write: Callable[[], object]) -> float:
    """CPU time of one call from a Python loop."""
    begun = time.thread_time_ns()
    for _ in range(PASSES):
        write()
    return (time.thread_time_ns() - begun) / PASSES


def measure_fan_out(rounds: int) -> list[Figure]:
    """Nanoseconds to write a message to one more recipient: into a buffer in C, and as a bytes object in Python."""
    stanza = message(1)
    rendered = Rendered(stanza)
    to, from_ = escape(TO), escape(FROM)
    rest = rendered.stanza().removeprefix(b"<message")
    if b"<message to='%b' from='%b'%b" % (to, from_, rest) != rendered.stanza(TO, FROM):
        raise RuntimeError("they do not write the same")
    in_c = Figure("fan-out, one more recipient", "ns", digits=1, peers=(FORMATTING,))
    in_python = Figure("fan-out through Python, addresses escaped each time", "ns", digits=0, peers=(FORMATTING,))
    for _ in range(rounds):
        begun = time.thread_time_ns()
        rendered.write_times(TO, FROM, PASSES)
        in_c.add(OURS, (time.thread_time_ns() - begun) / PASSES)
        in_c.add(FORMATTING, each_nanoseconds(lambda: b"<message to='%b' from='%b'%b" % (to, from_, rest)))
        in_python.add(OURS, each_nanoseconds(lambda: rendered.stanza(TO, FROM)))
        in_python.add(
            FORMATTING,
            each_nanoseconds(lambda: b"<message to='%b' from='%b'%b" % (escape(TO), escape(FROM), rest)),
        )
    return [in_c, in_python]
