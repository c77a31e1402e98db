"""However a connection's records are cut, and wherever it moves to another process: the same data, the same end."""

from dataclasses import dataclass

from hypothesis import given, settings
from hypothesis import strategies as st

from megaphone.wire.tls_end import TLSEnd
from tests.unit.wire.test_tls_records import connect
from tests.unit.wire.tls_model import (
    ALERT,
    APPLICATION_DATA,
    CLOSE_NOTIFY,
    HANDSHAKE,
    SUITES,
    USER_CANCELED,
    Peer,
    key_update,
    ticket,
)

THOROUGH = settings(max_examples=300, deadline=None)


@dataclass(frozen=True)
class Speech:
    """What a peer says in one record or two, in words: what, and how much."""

    what: str
    size: int = 0
    padding: int = 0


def spoken(speech: Speech, peer: Peer) -> bytes:
    """The records of a speech."""
    if speech.what == "data":
        return peer.data(bytes(i % 251 for i in range(speech.size)), speech.padding)
    if speech.what == "update":
        return peer.update(bool(speech.size % 2))
    if speech.what == "split update":
        message, at = key_update(bool(speech.size % 2)), 1 + speech.size % 4
        records = peer.handshake(message[:at], speech.padding) + peer.handshake(message[at:])
        peer.outgoing.update()
        return records
    if speech.what == "ticket":
        message, at = ticket(4 + speech.size), 1 + speech.size // 2
        return peer.handshake(message[:at]) + peer.handshake(message[at:], speech.padding)
    if speech.what == "canceled":
        return peer.alert(USER_CANCELED, level=1)
    if speech.what == "close":
        return peer.alert(CLOSE_NOTIFY, level=1)
    if speech.what == "alert":
        return peer.alert(speech.size % 256)
    if speech.what == "anything":
        return peer.outgoing.seal(speech.size % 256, bytes(speech.size % 7), speech.padding)
    assert speech.what == "rubbish"
    return bytes([speech.size % 256]) * (1 + speech.size)


SMALL = st.integers(0, 300)
SPEECHES = st.builds(
    Speech, st.sampled_from(["data", "data", "data", "update", "split update", "canceled"]), SMALL, SMALL
)
LARGE = st.builds(Speech, st.just("data"), st.integers(15000, 16384))
ENDS = st.builds(Speech, st.sampled_from(["close", "alert", "anything", "rubbish", "ticket"]), SMALL, SMALL)
CUTS = st.lists(st.integers(0, 3000), max_size=12)


def pieces_of(data: bytes, cuts: list[int]) -> list[bytes]:
    """The data cut behind so many bytes each."""
    pieces = []
    for size in cuts:
        pieces.append(data[:size])
        data = data[size:]
    return [*pieces, data]


def read(end: TLSEnd, pieces: list[bytes], *, moves: bool = False, room: int = 16385) -> tuple[bytes, str, int, bytes]:
    """Everything that the pieces say, how it ends, with which alert, and the state then."""
    said, ended = b"", ""
    for piece in pieces:
        plain, ended = end.open(piece, room)
        said += plain
        if moves:
            end = TLSEnd.restore(end.export())
    return said, ended, end.alert, end.export()


@THOROUGH
@given(
    st.sampled_from(SUITES),
    st.booleans(),
    st.lists(st.one_of(SPEECHES, SPEECHES, LARGE), max_size=12),
    st.lists(ENDS, max_size=2),
    CUTS,
)
def test_cuts_and_moves_change_nothing(
    suite: int, is_client: bool, speeches: list[Speech], ends: list[Speech], cuts: list[int]
) -> None:
    def new() -> TLSEnd:
        return connect(suite, is_client=is_client)[0]

    peer = connect(suite, is_client=is_client)[1]
    data = b"".join(spoken(speech, peer) for speech in [*speeches, *ends])
    whole = read(new(), [data])
    pieces = pieces_of(data, cuts)
    assert read(new(), pieces) == whole
    assert read(new(), pieces, moves=True) == whole
    assert read(new(), [data], room=65536) == whole
    if len(data) < 3000:
        assert read(new(), [data[i : i + 1] for i in range(len(data))], moves=True) == whole
    said = b"".join(bytes(i % 251 for i in range(each.size)) for each in speeches if each.what == "data")
    assert whole[0] == said
    if not ends:
        assert whole[1:3] == ("", -1)
    elif ends[0].what == "close":
        assert whole[1:3] == ("closed", -1)


# --- what we say is what we were given ---

ACTIONS = st.one_of(
    st.tuples(st.just("seal"), st.lists(st.binary(max_size=200), max_size=4)),
    st.tuples(st.just("large"), st.lists(st.integers(0, 40000), min_size=1, max_size=3)),
    st.tuples(st.just("update"), st.booleans()),
    st.tuples(st.just("asked"), st.booleans()),
    st.tuples(st.just("move"), st.none()),
)


@THOROUGH
@given(st.sampled_from(SUITES), st.booleans(), st.lists(ACTIONS, max_size=15))
def test_the_peer_hears_what_is_sealed(suite: int, is_client: bool, actions: list[tuple[str, object]]) -> None:
    end, peer = connect(suite, is_client=is_client)
    said, heard, answers, owed = b"", b"", 0, 0
    for action, value in actions:
        records = b""
        if action == "seal":
            assert isinstance(value, list)
            records = end.seal(*value)
            said += b"".join(value)
            owed = 0 if b"".join(value) else owed
        elif action == "large":
            assert isinstance(value, list)
            parts = [bytes([size % 256]) * size for size in value]
            records = end.seal(*parts)
            said += b"".join(parts)
            owed = 0 if any(parts) else owed
        elif action == "update":
            records = end.update(bool(value))
            owed = 0
        elif action == "asked":
            assert end.open(peer.update(bool(value))) == (b"", "")
            owed = 1 if value else owed
        else:
            end = TLSEnd.restore(end.export())
        for kind, content in peer.hear(records):
            assert kind in (APPLICATION_DATA, HANDSHAKE)
            if kind == APPLICATION_DATA:
                assert 0 < len(content) <= 16384
                heard += content
            else:
                answers += 1
    assert heard == said
    # whether an answer is still owed shows in what comes next
    kinds = [kind for kind, _ in peer.hear(end.seal(b"x"))]
    assert kinds == ([HANDSHAKE, APPLICATION_DATA] if owed else [APPLICATION_DATA])
    assert peer.hear(end.close()) == [(ALERT, b"\1\0")]
