"""Entry points for fuzzing messages and streams (RFC 7395): any bytes in, an AssertionError for any disagreement.

    from_messages   | flags | cuts | message NUL message NUL ... |      a client's; no XML has a NUL
    to_messages     | flags | cuts | stream ... |                       a server's

Cuts are two bytes each, as many as bits 5-7 of the flags say. Bit 0: the client has sent <open/>, the server RFC 6120's
header, before all that. All is read whole, cut, and in many pieces, byte by byte where it is short; expat says what it
means.
"""

import re
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from typing import Any
from xml.parsers import expat

from megaphone.wire.from_messages import StreamFromMessages, Taken
from megaphone.wire.to_messages import StreamToMessages
from tests.unit.wire.framing import END, HEADER, pieces_of
from tests.unit.wire.messages import split_frames

Piece = Callable[[bytes], Any]  # gives a piece memory of its own

OPEN = b"<open xmlns='urn:ietf:params:xml:ns:xmpp-framing' to='example.org' version='1.0'/>"
STREAM = b"<stream:stream xmlns='jabber:client' xmlns:stream='http://etherx.jabber.org/streams'>"
OPENED = 1
STANZA_BYTES = 4096
LIMIT_BYTES = 4096
PIECES = 96

RESTRICTED = re.compile(
    rb"xmlns|:stream"
)  # names of namespaces are fewer here than in XML, and so are names of elements

Elements = list[list[object]]


def elements(data: bytes, depth: int, *, whole: bool = True) -> Elements | None:
    """What expat finds `depth` levels below the top, each a list of starts, ends and text; None if it finds an error.

    Text beside them counts as one. Unless it is whole, `data` may end anywhere or wrongly: what has ended counts.
    """
    parser = expat.ParserCreate(namespace_separator="\x01")
    found: Elements = []
    level, ended = -1, 0
    parser.buffer_text = True

    def start(name: str, attributes: dict[str, str]) -> None:
        nonlocal level
        level += 1
        if level == depth:
            found.append([])
        if level >= depth:
            found[-1].append((name, sorted(attributes.items())))

    def end(name: str) -> None:
        nonlocal level, ended
        if level >= depth:
            found[-1].append(None)
        if level == depth:
            ended = len(found)
        level -= 1

    def text(data: str) -> None:
        if level >= depth:
            found[-1].append(data)
        elif level == depth - 1 and data.strip(" \t\r\n"):
            found.append([data])

    parser.StartElementHandler, parser.EndElementHandler, parser.CharacterDataHandler = start, end, text
    try:
        parser.Parse(data, whole)
    except expat.ExpatError:
        return None if whole else found[:ended]
    return found if whole else found[:ended]


def parted(data: bytes) -> tuple[int, list[int], bytes]:
    """Flags, cuts, and the rest of an input."""
    flags = data[0] if data else 0
    behind = 1 + 2 * (flags >> 5)
    cuts = [int.from_bytes(data[at : at + 2], "big") for at in range(1, min(behind, len(data)), 2)]
    return flags, cuts, data[behind : behind + LIMIT_BYTES]


def finely(data: bytes) -> range:
    """Cuts into PIECES, or between all bytes."""
    return range(0, len(data), 1 + len(data) // PIECES)


# --- a client's messages ---


@dataclass
class Taking:
    """What a client's messages were taken for, as far as none was refused."""

    streams: list[tuple[bytes, list[bytes]]] = field(default_factory=list)  # header, stanzas
    closed: bool = False
    refused: tuple[int, str] | None = None  # the number of the message, and why


def take(messages: Iterable[list[bytes]], piece: Piece) -> Taking:
    """Each message is a list of slices."""
    reader, taking = StreamFromMessages(stanza_bytes=STANZA_BYTES), Taking()
    for number, slices in enumerate(messages):
        said, last = b"", Taken.KEPT
        for index, part in enumerate(slices):
            try:
                taken, text = reader.take(piece(part), index == len(slices) - 1)
            except ValueError as error:
                taking.refused = number, str(error)
                return taking
            assert (taken is Taken.KEPT) <= (not text), "what is kept is not passed on"
            assert last is not Taken.PASS or taken is Taken.PASS, f"{taken!r} in the middle of a stanza"
            said += text
            last = taken
        if last is Taken.OPENED:
            taking.streams.append((said, []))
        elif last is Taken.CLOSED:
            assert said == END
            taking.closed = True
        else:
            assert last is not Taken.KEPT, "a whole message is still kept"
            assert not taking.closed, "a stanza behind the end"
            taking.streams[-1][1].append(said)
    return taking


def slices_of(message: bytes, cuts: Iterable[int]) -> list[bytes]:
    """As the reader of frames gives them: only the last one may be empty."""
    *slices, last = pieces_of(message, cuts)
    return [*filter(None, slices), last]


def fuzz_from_messages(data: bytes, piece: Piece) -> None:
    """Check one input in every way."""
    flags, cuts, rest = parted(data)
    messages = ([OPEN] if flags & OPENED else []) + rest.split(b"\0")
    whole = take([[message] for message in messages], piece)
    assert take([slices_of(message, cuts) for message in messages], piece) == whole
    assert take([slices_of(message, finely(message)) for message in messages], piece) == whole
    number, condition = whole.refused or (len(messages), "")
    stanzas = [message for message in messages[:number] if message in {s for _, part in whole.streams for s in part}]
    for header, passed in whole.streams:
        assert passed == stanzas[: len(passed)], "the stanzas are not those of the messages"
        del stanzas[: len(passed)]
        read = elements(header + b"".join(passed) + END, 1)
        assert read is not None, "expat refuses the stream"
        assert read == [element for each in passed for element in elements(STREAM + each + END, 1) or [[each]]]
        assert len(read) == len(passed), "a message is not one element"
    if condition == "not-well-formed" and messages[number].isascii() and not RESTRICTED.search(messages[number]):
        alone = elements(STREAM + messages[number] + END, 1)
        assert alone is None or len(alone) != 1 or whole.closed, "it is one whole element"


# --- a server's stream ---


def put(pieces: Iterable[bytes], piece: Piece) -> tuple[bytes, tuple[object, ...] | None, int]:
    """The frames, the error if there is one, and how many bytes came before the piece that brought it."""
    writer = StreamToMessages()
    frames, taken = b"", 0
    for part in pieces:
        try:
            frames += writer.put(piece(part))
        except ValueError as error:
            return frames, error.args, taken
        taken += len(part)
    return frames, None, taken


def whole_messages(frames: bytes) -> list[bytes]:
    """The messages that have ended; of one under way there is a first fragment, which ends nowhere."""
    ended = 0
    at = 0
    while at < len(frames):
        final, length = frames[at] & 0x80, frames[at + 1]
        at += 2
        if length >= 126:
            size = 2 if length == 126 else 8
            length = int.from_bytes(frames[at : at + size], "big")
            at += size
        at += length
        if final:
            ended = at
    return split_frames(frames[:ended])


def fuzz_to_messages(data: bytes, piece: Piece) -> None:
    """Check one input in every way."""
    flags, cuts, rest = parted(data)
    stream = (HEADER if flags & OPENED else b"") + rest
    frames, error, taken = put(pieces_of(stream, finely(stream)), piece)
    good = stream[:taken]
    if error is not None:
        assert put([stream], piece)[1] == error
        assert put(pieces_of(stream, cuts), piece)[1] == error
    single = [elements(message, 0) for message in whole_messages(frames)]
    assert None not in single, "expat refuses a message"
    for pieces in ([good], pieces_of(good, cuts)):
        frames, error, _ = put(pieces, piece)
        assert error is None, error
        assert [elements(message, 0) for message in whole_messages(frames)] == single, "cuts change what is said"
    check_against_expat(good, whole_messages(frames))


def check_against_expat(stream: bytes, messages: list[bytes]) -> None:
    """The messages say what the stream says, unless that begins anew in between."""
    opened = [message for message in messages if message.startswith(b"<open xmlns='urn:ietf:params:xml:ns:xmpp-fra")]
    if len(opened) != 1 or messages[0] is not opened[0] or stream.count(b"<?xml") > 1:
        return
    closed = messages[-1].startswith(b"<close xmlns='urn:ietf:params:xml:ns:xmpp-framing'")
    stanzas = messages[1 : len(messages) - closed]
    read = elements(stream, 1, whole=False)
    assert [elements(message, 0) for message in stanzas] == [[element] for element in read or []]
