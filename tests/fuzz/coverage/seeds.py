"""The inputs a fuzz run begins with besides the corpus: what other tests read, put into each target's form."""

from collections.abc import Callable, Iterator
from itertools import cycle

from hypothesis import given, settings
from hypothesis import strategies as st

from megaphone.history.batch import encode, ids
from megaphone.history.content import Content
from megaphone.history.entry import bare
from megaphone.history.forks import prove
from megaphone.history.messages_codec import encode as encode_message
from megaphone.history.riblt import Encoder
from megaphone.wire.link import Side
from megaphone.wire.tls_end import TLSEnd
from tests.fuzz.test_framer import USUAL, WRONG
from tests.unit.history.batch_fuzz import Feed, verify
from tests.unit.history.messages_fuzz import node as fuzzed_node
from tests.unit.history.nodes import connected
from tests.unit.history.test_messages import GOLDEN as GOLDEN_MESSAGES
from tests.unit.history.test_messages import MESSAGES
from tests.unit.wire.framing import END, HEADER, OPENED
from tests.unit.wire.link_golden import GOLDEN as LINK_GOLDEN
from tests.unit.wire.link_golden import speeches
from tests.unit.wire.messages import to_messages
from tests.unit.wire.messages_fuzz import OPEN as OPEN_MESSAGE
from tests.unit.wire.stanzas import stanza_streams
from tests.unit.wire.streams import STREAMS, mutated_streams
from tests.unit.wire.test_hostile import INPUTS, bounds_of, stream_of
from tests.unit.wire.test_websocket_golden import DIALOGUES
from tests.unit.wire.websocket_frames import frame_of
from tests.unit.wire.websocket_streams import ANY

EXAMPLES = 200
SEED_BYTES = 4096  # libFuzzer makes none that are longer


def examples(strategy: st.SearchStrategy[bytes]) -> list[bytes]:
    """The same examples each time."""
    found: list[bytes] = []

    @settings(max_examples=EXAMPLES, derandomize=True, database=None, deadline=None)
    @given(strategy)
    def collect(data: bytes) -> None:
        found.append(data)

    collect()
    return found


def framer() -> Iterator[bytes]:
    """Behind a head of flags, bounds and cuts, as targets/framer.pyx says."""
    stops, restarts, headed, tight = 1, 2, 4, 8
    heads = cycle([(stops, b"\x07\x03\x01\xff"), (stops, b"\xff\xff\xff\xff"), (0, b"\x20\x00\x02\x40")])
    for hostile in INPUTS:
        (flags, cuts), data = next(heads), stream_of(hostile)
        if hostile.get("restart"):
            flags |= restarts
        bounds = bytes(3)
        if bounds_of(hostile):
            flags, bounds = flags | tight, bytes([62, 63, 255])
        if data.startswith(HEADER):
            flags, data = flags | headed, data[len(HEADER) :]
        yield bytes([flags]) + bounds + cuts + data
    for data in [USUAL, *WRONG, *examples(STREAMS), *examples(mutated_streams(header=True))]:
        flags, cuts = next(heads)
        yield bytes([flags, 0, 0, 0]) + cuts + data
        if data.startswith(HEADER):
            yield bytes([flags | headed | tight, 3, 6, 99]) + cuts + data[len(HEADER) :]


def bosh_body() -> Iterator[bytes]:
    """Behind flags, as tests/unit/stream/bosh_fuzz.py says."""
    bodies = (
        (
            b"<body rid='7' xmlns='http://jabber.org/protocol/httpbind' xmlns:stream='http://etherx.jabber.org/streams'",
            b"body",
        ),
        (b"<b:body xmlns:b='http://jabber.org/protocol/httpbind' xmlns='urn:x' rid='8' ack='7' sid='s'", b"b:body"),
        (
            b"<?xml version='1.0'?><body rid='1' to='example.org' ver='1.6' wait='60' hold='1' xmlns:x='u'"
            b" xmlns='http://jabber.org/protocol/httpbind' xmlns:xmpp='urn:xmpp:xbosh' xmpp:restart='true'",
            b"body",
        ),
    )
    for begin, _ in bodies:
        yield b"\0" + begin + b"/>"
    ways = cycle(bodies)
    for data in [*examples(STREAMS), *examples(mutated_streams(header=True)), *map(stream_of, INPUTS)]:
        inner = data.removeprefix(HEADER).removesuffix(END)
        begin, name = next(ways)
        yield b"\1" + inner
        yield b"\0" + begin + b">" + inner + b"</" + name + b">"


def websocket() -> Iterator[bytes]:
    """Behind flags and cuts, as tests/unit/wire/websocket_fuzz.py says."""
    heads = cycle([b"\x20\x00\x07", b"\x01", b"\x41\x00\x03\x00\x30", b"\x15", b"\x0a"])
    for dialogue in DIALOGUES:
        for data in {b"".join(map(frame_of, dialogue["client"])), frame_of(dialogue["client"][-1])}:
            yield next(heads) + data
    for data in examples(ANY):
        yield next(heads) + data


def from_messages() -> Iterator[bytes]:
    """Behind flags and cuts, as tests/unit/wire/messages_fuzz.py says."""
    heads = cycle([b"\x01", b"\x21\x00\x03", b"\x41\x00\x07\x00\x30"])
    opened, closed = OPEN_MESSAGE, b"<close xmlns='urn:ietf:params:xml:ns:xmpp-framing'/>"
    for data in [*examples(STREAMS), USUAL]:
        messages = [message for message in to_messages([data]) if b"\0" not in message]
        yield next(heads) + b"\0".join(messages[1:])
        yield b"\0" + b"\0".join(messages)
    for message in (
        b"<open/>",
        b"<close/>",
        b"<x:open xmlns:x='urn:other'/>",
        b"<presence/> \n",
        b"<presence/>x",
        b"",
        b" ",
    ):
        yield next(heads) + b"<iq/>\0" + message + b"\0<iq/>\0" + closed
    yield b"\0" + opened + b"\0<iq/>\0" + opened + b"\0<iq/>\0" + closed + b"\0<iq/>"
    yield from (b"\1" + stream_of(hostile).removeprefix(HEADER) for hostile in INPUTS)


def to_messages_seeds() -> Iterator[bytes]:
    """Behind flags and cuts, as tests/unit/wire/messages_fuzz.py says."""
    heads = cycle([b"", b"\x00\x03", b"\x00\x0c\x00\x20", b"\x00\x80\x00\x90\x00\xa0"])
    for data in [*examples(STREAMS), *examples(mutated_streams(header=True)), *map(stream_of, INPUTS), USUAL]:
        cuts = next(heads)
        yield bytes([len(cuts) // 2 << 5]) + cuts + data
        if data.startswith(HEADER):
            yield bytes([len(cuts) // 2 << 5 | 1]) + cuts + data[len(HEADER) :]
    yield b"\1<success/>" + HEADER + b"<iq/><stream:features><x:a xmlns:x='u'/></stream:features>" + END
    yield (
        b"\0<s:stream xmlns:s='http://etherx.jabber.org/streams' xmlns='jabber:client' xmlns:x='urn:x' version='1.0'>"
        b"<s:features><x:a/></s:features><message x:b='1'><x:c xmlns:x='urn:y'/></message></s:stream>"
    )


def link() -> Iterator[bytes]:
    """Behind flags and cuts, as targets/link.pyx says."""
    cuts = cycle([b"", b"\x00\x03", b"\x00\x0c\x00\x20"])
    for path in sorted(LINK_GOLDEN.glob("*/*.hex")):
        for speech in speeches(f"{path.parent.name}/{path.name}"):
            cut = next(cuts)
            yield bytes([len(cut) // 2 << 5 | (speech.side is Side.EDGE)]) + cut + speech.data


def stanza_header() -> Iterator[bytes]:
    """Behind flags and cuts, as targets/stanza_header.pyx says."""
    headed, restarts = 1, 2
    cuts = cycle([b"", b"\x00\x07", b"\x00\x80\x00\xb0"])
    for data in [*examples(stanza_streams()), *examples(STREAMS), *examples(mutated_streams(header=True))]:
        cut = next(cuts)
        yield bytes([len(cut) // 2 << 5]) + cut + data
        if data.startswith(HEADER):
            yield bytes([len(cut) // 2 << 5 | headed]) + cut + data[len(HEADER) :]
    yield bytes([headed | restarts]) + b"<success/>" + HEADER + b"<iq/><?xml version='1.0'?> " + OPENED + b"<iq/>" + END
    yield from (bytes([headed]) + stream_of(hostile).removeprefix(HEADER) for hostile in INPUTS)


def history_batch() -> Iterator[bytes]:
    """Behind a byte that says what it is, as tests/unit/history/batch_fuzz.py says."""
    feed = Feed(b"a")
    first, liar = feed.write(1, Content("a", b"x")), feed.copy()
    one, other = feed.write(1, Content("a", b"y"), Content("b", b"z")), liar.write(77, Content("c", b"u"))
    erased = feed.write(3, Content("a", b"r", ids(one)[0]))
    for batch in (first, one, other, erased, one._replace(seal=b"")):
        yield b"\0" + encode(batch)
        yield b"\0" + encode(batch._replace(entries=tuple(map(bare, batch.entries))))
    liar.ms -= 9
    for pair in ((one, other), (other, liar.write(1, Content("a", b"v")))):
        proof = prove(*pair, verify)
        assert proof is not None
        yield b"\1" + proof.encode()
    for script in examples(st.binary(max_size=20)):
        yield b"\2" + script


def history_messages() -> Iterator[bytes]:
    """Behind a byte that says what it is, as tests/unit/history/messages_fuzz.py says."""
    written = [data for _, data in GOLDEN_MESSAGES]
    for data in written:
        yield b"\0" + data
    for data in examples(MESSAGES.map(encode_message)):
        yield b"\0" + data
        yield b"\1" + len(data).to_bytes(2) + data
    one, other = fuzzed_node("anna"), fuzzed_node("bert")
    one.say("x", "y")
    link = connected(one, other)
    link.run()
    said = [data for name, data in link.said if name == "bert"]
    yield b"\1" + b"".join(len(data).to_bytes(2) + data for data in said)
    for count in (0, 1, 9):
        symbols = Encoder([bytes([at]) * 8 for at in range(20 - count, 22)], bytes(16)).next(40)
        yield b"\2" + (2 + count).to_bytes(4) + symbols
    for script in examples(st.binary(max_size=40)):
        yield b"\3" + script


def tls_records() -> Iterator[bytes]:
    """Scripts behind flags and cuts, as targets/tls_records.pyx says."""
    heads = cycle([b"\x00", b"\x29\x00\x07", b"\x42\x00\x03\x00\x30", b"\x0c", b"\x6b\x00\x05\x00\x20\x00\x80"])
    data, update, asks = b"\x18\x05hello", b"\x01\x05\x18\0\0\1\0\x05", b"\x01\x05\x18\0\0\1\1\x05"
    ticket, close = b"\x01\x0a\x04\0\0\x06ticket", b"\x03\1\0"
    for script in [
        data + data + close,
        data + update + data + asks + data,
        update * 33,
        b"\x00\x00" * 33,
        b"\x01\x02\x18\0\x01\x03\0\1\1\x05" + data,
        b"\x01\x02\x18\0" + data,
        ticket + data + ticket + close,
        b"\x01\x03\x04\0\0" * 3,
        b"\x01\x0f\x04\0\0\x06ticket\x18\0\0\1\1\x05" + data,
        data + b"\x03\2\x28" + data,
        data + b"\x03\1\x5a" + close,
        b"\x04\x40\0" + b"\x0c\x20\0" + b"\x04\x40\1",
        b"\x06\x06\x14\3\3\0\1\1" + data,
        b"\x06\x05\x17\3\3\xff\xff" + data,
        b"\x06\x07\x17\3\3\0\2\0\0" + data,
        data + b"\x07\0\x09\1",
        b"\x02\x14\1\1",
        b"\x02\0\0",
        b"\x02\x15\0",
        b"\x01\x05\x18\0\0\1\2",
        b"\x01\x06\x18\0\0\2\0\0",
        b"\x01\x0a\x18\0\0\1\0\x18\0\0\1\0",
        b"\x05" + data,
    ]:
        for _ in range(5):
            yield next(heads) + script
    for suite, length in ((0x1301, 32), (0x1302, 48), (0x1303, 32)):
        end = TLSEnd(suite, bytes(length), bytes(length))
        yield b"\x10" + end.export()
        end.open(b"\x17\3\3\1\0" + bytes(20))
        yield b"\x10" + end.export()


SEEDS: dict[str, Callable[[], Iterator[bytes]]] = {
    "bosh_body": bosh_body,
    "framer": framer,
    "from_messages": from_messages,
    "history_batch": history_batch,
    "history_messages": history_messages,
    "link": link,
    "stanza_header": stanza_header,
    "tls_records": tls_records,
    "to_messages": to_messages_seeds,
    "websocket": websocket,
}


def seeds_of(target: str) -> set[bytes]:
    """The seeds of one target."""
    return {seed for seed in SEEDS[target]() if len(seed) <= SEED_BYTES}
