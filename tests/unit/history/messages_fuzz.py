"""What the fuzz target history_messages checks: any bytes as a message, as symbols, and as what happens to a dialogue.

    0 │ a message      1 │ messages of a liar, 2 bytes of length before each      2 │ symbols      3 │ script

In a script two replicas talk, and each byte says what one of them does or what happens to a message; in the end all
messages arrive, and both have the same. A liar's messages come to a replica that has something to lose: it stays whole,
and it is never made to say more than a few messages for each. A signature is a hash, as the fuzzer cannot sign.
"""

from __future__ import annotations

from megaphone.errors import HistoryError
from megaphone.history.content import Content
from megaphone.history.entry import Origin
from megaphone.history.messages import Message
from megaphone.history.messages_codec import decode, encode
from megaphone.history.riblt import Decoder
from tests.unit.history.batch_fuzz import NOW_MS, ROOM, Feed, signature, verify
from tests.unit.history.nodes import Link, Node, assert_same, connected
from tests.unit.history.origins import state

SCRIPT_LIMIT = 40
LIES_LIMIT = 20
ANSWERS_LIMIT = 12
"""Messages that one may draw out: four pages, a question, proofs."""
REASONS = {"malformed", "too-large"}


class HashSigner:
    """Signs with a hash, as `batch_fuzz.verify` checks it."""

    def __init__(self, origin: bytes) -> None:
        self.origin = Origin(origin * 32)

    def sign(self, data: bytes) -> bytes:
        return signature(self.origin, data)


def node(name: str) -> Node:
    here = Node(name, rooms=[ROOM], signer=HashSigner(name[:1].encode()), verifier=verify)
    feed = Feed(b"f")
    here.take(feed.write(1, *(Content("f", bytes([at])) for at in range(5))))
    return here


def check_message(data: bytes) -> None:
    try:
        message: Message = decode(data)
    except HistoryError as error:
        if error.reason not in REASONS:
            raise AssertionError(error) from None
        return
    assert encode(message) == data, "two ways to write a message"


def check_symbols(data: bytes) -> None:
    size, symbols = int.from_bytes(data[:4]), data[4:]
    decoder = Decoder([bytes([at]) * 8 for at in range(20)], bytes(16), size, most=256)
    try:
        decoder.feed(symbols)
    except ValueError:
        return
    theirs, ours = decoder.differences()
    assert len(theirs) + len(ours) <= decoder.symbols_read, "more than there can be"


def check_lies(data: bytes) -> None:
    here, liar = node("anna"), node("bert")
    link = connected(here, liar)
    before = state(here.log)
    for _ in range(LIES_LIMIT):
        length = int.from_bytes(data[:2])
        lie, data = data[2 : 2 + length], data[2 + length :]
        said = link.conversation(here).receive(lie, NOW_MS)
        assert len(said) <= ANSWERS_LIMIT, "much talk for one message"
        for each in said:
            check_message(each)
        if not data:
            break
    known = {id_ for id_, _ in before[0]}  # type: ignore[attr-defined]
    assert known <= {placed.id for placed in here.log.page(10_000)}, "something was lost"


def check_script(script: bytes) -> None:
    one, other = node("anna"), node("bert")
    link = connected(one, other)
    now_ms = NOW_MS
    for byte in script[:SCRIPT_LIMIT]:
        what, how = byte & 7, byte >> 3
        at = (one, other)[how & 1]
        waiting = link.under_way[at.name]
        if what == 0:
            at.say(*["x"] * (1 + how // 8), now_ms=now_ms)
        elif what == 1:
            now_ms += 1 << how // 2
            link.tick(now_ms)
        elif what == 2:
            link.cut()
            link.connect(now_ms)
        elif what == 3 and at.log.page(1):
            at.erase(at.log.page(1)[0].id, now_ms)
        elif waiting:
            index = how // 2 % len(waiting)
            if what == 4:
                del waiting[index]
            elif what == 5:
                waiting.append(waiting[index])
            else:
                link.deliver(at, now_ms, index)
        assert not any(each.closed for each in link.conversations.values()), "an honest peer was called a liar"
    settle(link, now_ms)
    assert_same(one, other)


def settle(link: Link, now_ms: int) -> None:
    """All arrives, and time passes."""
    link.cut()
    link.connect(now_ms)
    for _ in range(30):
        link.run(now_ms)
        now_ms += 1000
        link.tick(now_ms)
    link.run(now_ms)
    assert all(each.is_settled(ROOM.id) for each in link.conversations.values()), "they are not settled"


def check_input(data: bytes) -> None:
    """Check one input; AssertionError if something is wrong with the answer."""
    if data:
        (check_message, check_lies, check_symbols, check_script)[data[0] & 3](data[1:])
