"""The reader beside wsproto and websockets: what it accepts they read the same, what they refuse it refuses."""

import pytest
from hypothesis import example, given, settings
from wsproto import ConnectionType
from wsproto.connection import Connection, ConnectionState
from wsproto.events import CloseConnection, Message, Ping, Pong, TextMessage

from megaphone.wire.websocket import CLOSE_CODES, Error, Event, MessageReader
from megaphone.wire.websocket_writer import close, pong, text_header
from tests.unit.wire.test_websocket_golden import Dialogue, bytes_of, each_dialogue, limits_of
from tests.unit.wire.websocket_frames import Reading, frame, read
from tests.unit.wire.websocket_peers import PEERS, Heard
from tests.unit.wire.websocket_streams import ANY, STREAMS

THOROUGH = settings(max_examples=400, derandomize=True, deadline=None)
# What a peer does not look at: limits; lengths spelt too long, also those of control frames; text before its end.
TAKEN = {
    "wsproto": {Error.MESSAGE_TOO_BIG},
    "websockets": {
        Error.MESSAGE_TOO_BIG,
        Error.LENGTH_TOP_BIT,
        Error.LENGTH_NOT_MINIMAL,
        Error.CONTROL_TOO_LONG,
        Error.INVALID_UTF8,
    },
}

each_peer = pytest.mark.parametrize("peer", PEERS)


def is_excused(peer: str, reading: Reading, heard: Heard) -> bool:
    """Where a peer refuses what the reader takes, because RFC 6455 or the IANA registry takes it."""
    if heard.refused != 1002 or heard.said != reading.said[:-1]:
        return False
    between_fragments = peer == "websockets" and reading.code is not None  # section 5.4
    return between_fragments or (peer == "wsproto" and reading.code == 1014)  # "bad gateway"


def is_cut(data: bytes, offset: int) -> bool:
    """Whether the frame that the byte at `offset` belongs to has not come whole: a peer waits for that."""
    end = 0
    while end <= offset:
        head = data[end : end + 2]
        if len(head) < 2:
            return True
        size = {126: 2, 127: 8}.get(head[1] & 0x7F, 0)
        length = int.from_bytes(data[end + 2 : end + 2 + size], "big") if size else head[1] & 0x7F
        end += 2 + size + (4 if head[1] & 0x80 else 0) + length
    return end > len(data)


@each_dialogue
@each_peer
def test_dialogues_are_taken_or_left_as_recorded(peer: str, dialogue: Dialogue) -> None:
    data = bytes_of(dialogue)
    reading, heard = read([data], **limits_of(dialogue)), PEERS[peer](data)
    if "error" in dialogue:
        assert (heard.refused is None) == (peer in dialogue.get("takers", []))
    else:
        assert (heard.refused is not None) == (peer in dialogue.get("refusers", []))
    assert heard.said[: len(reading.said)] == reading.said or is_excused(peer, reading, heard)


@each_peer
@THOROUGH
@given(STREAMS)
def test_right_streams_are_taken_by_all_and_read_the_same(peer: str, data: bytes) -> None:
    reading, heard = read([data], text_only=False), PEERS[peer](data)
    assert reading.error is None
    assert (reading.said, reading.code) == (heard.said, heard.code)
    assert heard.refused is None


@each_peer
@THOROUGH
@given(ANY)
@example(frame(1, b"abc", more=True) + frame(8))
@example(frame(8, (1014).to_bytes(2, "big")))
@example(frame(1, form=16) + frame(1, b"a"))
@example(frame(8, form=16))
def test_what_is_taken_is_read_the_same_and_what_they_refuse_is_refused(peer: str, data: bytes) -> None:
    reading, heard = read([data], text_only=False), PEERS[peer](data)
    if reading.error is None:
        if not is_excused(peer, reading, heard):
            assert heard.refused is None
            assert (reading.said, reading.code) == (heard.said, heard.code)
        return
    assert heard.said[: len(reading.said)] == reading.said
    if heard.refused is None:
        assert reading.error in TAKEN[peer] or is_cut(data, reading.error_offset)
    elif reading.error not in TAKEN[peer]:
        assert heard.said == reading.said


# --- the writer, and a client ---


def echo(reader: MessageReader, data: bytes) -> bytes:
    """What a server that sends every message back answers to `data`."""
    answers, message, waiting = b"", b"", memoryview(bytearray(data))
    while waiting:
        event, consumed, payload, detail = reader.read(waiting)
        waiting = waiting[consumed:]
        if event is Event.DATA:
            assert isinstance(detail, tuple)
            message += payload
            if detail[2]:
                answers += text_header(len(message)) + message
                message = b""
        elif event is Event.PING:
            answers += pong(payload)
        elif event is Event.CLOSE:
            assert isinstance(detail, int)
            answers += close(detail, payload.decode())
        elif event is Event.ERROR:
            assert isinstance(detail, Error)
            return answers + close(CLOSE_CODES[detail])
    return answers


@pytest.mark.parametrize("length", [0, 1, 125, 126, 65535, 65536, 200_000])
def test_a_client_of_wsproto_reads_what_is_written(length: int) -> None:
    client, reader = Connection(ConnectionType.CLIENT), MessageReader()
    text = "é€😀x"[: length % 5] + "x" * max(0, length - length % 5)
    sent = client.send(Message(data=text)) + client.send(Ping(payload=b"here?"))
    sent += client.send(CloseConnection(code=1000, reason="bye"))
    client.receive_data(echo(reader, sent))
    *parts, ponged, closed = client.events()
    assert all(isinstance(part, TextMessage) for part in parts)
    assert "".join(part.data for part in parts if isinstance(part, TextMessage)) == text
    assert ponged == Pong(payload=b"here?")
    assert closed == CloseConnection(code=1000, reason="bye")
    assert client.state is ConnectionState.CLOSED


@pytest.mark.parametrize("error", CLOSE_CODES)
def test_a_client_of_wsproto_reads_every_refusal(error: int) -> None:
    client = Connection(ConnectionType.CLIENT)
    client.receive_data(close(CLOSE_CODES[error], Error(error).name))
    assert list(client.events()) == [CloseConnection(code=CLOSE_CODES[error], reason=Error(error).name)]
