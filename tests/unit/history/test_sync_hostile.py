"""Peers that lie: each is refused, or left alone, or cut off; nothing is lost, and no exchange goes on for ever."""

import random
from collections.abc import Callable, Iterable

import pytest

from megaphone.history.batch import encode as encode_batch
from megaphone.history.digest import Digest
from megaphone.history.manifest import Manifest
from megaphone.history.messages import (
    MAX_BYTES,
    REF_BYTES,
    Batches,
    Days,
    Exclusion,
    Get,
    Head,
    Heads,
    Info,
    Interested,
    Message,
    More,
    Proofs,
    Push,
    Range,
    Same,
    Scope,
    Symbols,
    Unknown,
    Want,
    WantProofs,
)
from megaphone.history.messages_codec import decode, encode
from megaphone.history.sync import Conversation
from megaphone.history.sync_budget import MAX_FAULTS, READINGS
from megaphone.history.sync_exchange import ANSWER_MS, LATEST_MS, MAX_STRIKES, MAX_TABLES
from tests.unit.history.nodes import Node, connected, pair
from tests.unit.history.origins import NOW_MS, ROOM, Writer, state

REF = ROOM.id[:REF_BYTES]
LIE = Digest(1000, 12345)
Peer = Callable[[Message], Iterable[Message]]


class Victim:
    """A replica with something to lose, and a peer that answers each message as a test likes."""

    def __init__(self, peer: Peer = lambda message: (), *, speaks_first: bool = False) -> None:
        self.node, peer_node = pair() if speaks_first else pair()[::-1]
        self.writer = Writer("writer")
        for _ in range(20):
            self.node.take(self.writer.say("x", "y"))
        self.before = state(self.node.log)
        self.conversation = Conversation(self.node.replica, peer_node.origin)
        self.peer = peer
        self.said: list[Message] = []
        self.now_ms = NOW_MS
        self.hear(*self.conversation.start(NOW_MS))

    def hear(self, *said: bytes) -> None:
        """Let the peer answer, until it or the victim says no more."""
        under_way = list(said)
        while under_way:
            message = decode(under_way.pop(0))
            self.said.append(message)
            assert len(self.said) < 2000, "it goes on and on"
            for lie in self.peer(message):
                under_way += self.conversation.receive(encode(lie), self.now_ms)

    def tell(self, *lies: Message) -> list[Message]:
        """Tell it something; returns the answers."""
        start = len(self.said)
        for lie in lies:
            self.hear(*self.conversation.receive(encode(lie), self.now_ms))
        return self.said[start:]

    def wait(self, ms: int) -> list[Message]:
        start = len(self.said)
        self.now_ms += ms
        self.hear(*self.conversation.tick(self.now_ms))
        return self.said[start:]

    def is_whole(self) -> bool:
        return state(self.node.log) == self.before


def heads(digest: Digest = LIE, *origins: tuple[bytes, int], **more: object) -> Heads:
    return Heads(ROOM.id, 0, digest, tuple(Head(*each) for each in origins), **more)  # type: ignore[arg-type]


def matching(victim: Victim) -> list[tuple[bytes, int]]:
    return [(origin[:REF_BYTES], seq) for origin, seq in victim.node.log.heads().items()]


@pytest.mark.parametrize("data", [b"", b"x", b"\x01\0short", bytes(MAX_BYTES + 1), b"\x0a\0no batch", b"\xff" * 100])
def test_what_is_no_message_ends_the_conversation(data: bytes) -> None:
    victim = Victim()
    assert victim.conversation.receive(data, NOW_MS) == []
    assert victim.conversation.closed.startswith(("malformed", "too-large"))
    assert victim.conversation.receive(encode(Interested(ROOM.id, 0)), NOW_MS) == []
    assert victim.conversation.tick(NOW_MS + 10**9) == []
    assert victim.conversation.push(Writer("anna").say("x")) == []
    assert victim.is_whole()


def test_wrong_digests_again_and_again() -> None:
    """Each costs a table at first, and then nothing."""
    victim = Victim()
    for number in range(300):
        victim.tell(heads(Digest(40, number), *matching(victim)))
    tables = [message for message in victim.said if isinstance(message, Symbols)]
    assert 0 < len(tables) <= READINGS
    assert len(victim.said) < 350
    assert victim.is_whole()


def test_a_peer_that_always_differs_is_asked_less_and_less() -> None:
    victim = Victim(
        lambda message: [Batches(REF, 0, LIE, True, ())] if isinstance(message, (Heads, Get)) else (), speaks_first=True
    )
    said = 0
    for _ in range(24 * 60):
        said += len(victim.wait(60_000))
    assert MAX_STRIKES <= said < 40 * MAX_STRIKES
    assert len(victim.wait(LATEST_MS)) <= MAX_STRIKES + 1
    assert victim.is_whole()


def test_endless_symbols() -> None:
    """Random ones: they never show anything."""
    choice = random.Random(3)

    def symbols(message: Message) -> Iterable[Message]:
        if isinstance(message, (Heads, More)):
            scope = message.scope if isinstance(message, More) else Scope(0, (), 0)
            first = message.first if isinstance(message, More) else 0
            count = message.count if isinstance(message, More) else 320
            data = b"".join(choice.randbytes(16) + b"\x02" for _ in range(count))
            yield Symbols(REF, scope, b"k" * 16, 1000, first, data)

    victim = Victim(symbols, speaks_first=True)
    asked = [message for message in victim.said if isinstance(message, More)]
    assert 0 < len(asked) <= MAX_TABLES
    assert not victim.conversation.closed
    assert victim.wait(ANSWER_MS) == []
    assert victim.is_whole()


def test_symbols_that_nobody_asked_for() -> None:
    victim = Victim()
    victim.tell(Same(REF))
    message = Symbols(REF, Scope(0, (), 0), bytes(16), 40, 0, bytes(17) * 40)
    assert victim.tell(message, message) == []
    assert victim.is_whole()


def test_symbols_that_are_none_end_the_conversation() -> None:
    victim = Victim(speaks_first=True)
    victim.tell(Symbols(REF, Scope(0, (), 0), bytes(16), 40, 0, b"none"))
    assert victim.conversation.closed.startswith("malformed")


def test_heads_that_do_not_exist_are_asked_for_a_few_times() -> None:
    victim = Victim(lambda message: [Batches(REF, 0, LIE, False, ())] if isinstance(message, (Heads, Get)) else ())
    victim.tell(heads(LIE, (b"nobodies", 2**62), (b"and-more", 7)))
    assert sum(isinstance(message, Get) for message in victim.said) <= MAX_STRIKES + 1
    assert victim.is_whole()


def test_an_answer_that_says_that_is_all_is_believed_once() -> None:
    victim = Victim(lambda message: [Batches(REF, 0, LIE, True, ())] if isinstance(message, Get) else ())
    victim.tell(heads(LIE, (b"nobodies", 5)))
    assert sum(isinstance(message, Get) for message in victim.said) == 1
    victim.wait(ANSWER_MS)
    victim.tell(heads(LIE, (b"nobodies", 5)))
    assert sum(isinstance(message, Get) for message in victim.said) == 1
    victim.tell(heads(LIE, (b"nobodies", 6)))
    assert sum(isinstance(message, Get) for message in victim.said) == 2


def test_forged_entries_end_the_conversation() -> None:
    victim, forger = Victim(), Writer("forger")
    for number in range(MAX_FAULTS):
        assert not victim.conversation.closed
        batch = forger.say(str(number))
        victim.tell(Push(encode_batch(batch._replace(seal=bytes(64)))))
    assert victim.conversation.closed.startswith("bad-seal")
    assert victim.is_whole()
    assert len(victim.node.refusals) == MAX_FAULTS


def test_entries_of_another_room_end_the_conversation() -> None:
    victim = Victim()
    victim.tell(heads(LIE, (b"nobodies", 5)))
    elsewhere = Writer("bert", Manifest("lan", "elsewhere")).say("x")
    victim.tell(Batches(REF, 0, None, False, (encode_batch(elsewhere),)))
    assert victim.conversation.closed.startswith("malformed")
    assert victim.is_whole()


def test_a_push_for_a_room_that_is_not_kept_is_passed_over() -> None:
    victim = Victim()
    elsewhere = Writer("bert", Manifest("lan", "elsewhere")).say("x")
    assert victim.tell(Push(encode_batch(elsewhere))) == []
    assert not victim.conversation.closed


@pytest.mark.parametrize("proof", [b"", b"proof", bytes(200)])
def test_a_forged_proof_ends_the_conversation(proof: bytes) -> None:
    victim = Victim()
    victim.tell(heads(), Proofs(REF, proof))
    assert victim.conversation.closed
    assert victim.is_whole()


def test_proofs_that_do_not_exist_are_asked_for_once_each_time() -> None:
    victim = Victim()
    lie = heads(LIE, exclusions=(Exclusion(victim.writer.origin[:REF_BYTES], 3, b"mark"),))
    answer = victim.tell(lie)
    assert [type(message) for message in answer if isinstance(message, WantProofs)] == [WantProofs]
    assert victim.is_whole()


def test_everything_at_once_that_may_be_asked() -> None:
    """What is sent for a question is bounded, whatever is asked."""
    victim = Victim()
    origin = victim.writer.origin[:REF_BYTES]
    questions: list[Message] = [
        Get(REF, 0, (Range(origin, 1, 2**61),) * 256),
        Get(REF, 0, (Range(origin, 1, 0),) * 256),
        Get(REF, 65_535, (Range(origin, 1, 0),)),
        Get(REF, 0, (Range(b"nobodies", 1, 0),)),
        Want(REF, (bytes(8),) * 8192),
        Want(REF, ()),
        More(REF, Scope(0, (), 0), 0, 8192),
        More(REF, Scope(0, (), 32), 0, 8192),
        More(REF, Scope(0, (1, 2, 3), 0), 0, 0),
        More(REF, Scope(0, (), 0), 10**9, 8192),
        WantProofs(REF, (origin,) * 1024),
        Interested(ROOM.id, 65_535, True),
        Days(REF, 0, ()),
        Unknown(REF),
        Info(ROOM.id, 0, LIE, (), ()),
        Same(b"nobodies"),
    ]
    victim.tell(heads(LIE))
    for question in questions:
        answer = victim.tell(question)
        assert len(answer) <= 6
        assert sum(len(encode(message)) for message in answer) < 6 * MAX_BYTES
    assert not victim.conversation.closed
    assert victim.is_whole()


def test_silence() -> None:
    """Somebody who never says anything is asked a few times, then seldom, and holds nothing."""
    victim = Victim()
    said = sum(len(victim.wait(1000)) for _ in range(24 * 3600))
    assert said < 400
    assert victim.is_whole()


def test_a_liar_does_not_keep_others_from_their_history() -> None:
    victim = Victim()
    for _ in range(100):
        victim.tell(heads(Digest(3, 4)), heads(LIE, (b"nobodies", 2**62)))
    honest = Node("carl")
    link = connected(victim.node, honest)
    link.run()
    assert state(honest.log) == state(victim.node.log)
