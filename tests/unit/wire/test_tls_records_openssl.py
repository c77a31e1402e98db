"""The record layer and OpenSSL, in both roles: random fragments, padding and KeyUpdates at any moment."""

import random
from pathlib import Path

import pytest

from megaphone.wire.tls_end import TLSEnd
from tests.servers.certificates import CertificateAuthority, CertificateFiles
from tests.unit.wire.tls_model import (
    ALERT,
    BAD_RECORD_MAC,
    CLOSE_NOTIFY,
    HANDSHAKE,
    NAMES,
    RECORD_OVERFLOW,
    SUITES,
    UNEXPECTED_MESSAGE,
    Direction,
    records_of,
)
from tests.unit.wire.tls_openssl import Habits, OpenSSL, connect

STEPS = 150
SEEDS = range(6)

each_suite = pytest.mark.parametrize("suite", SUITES, ids=NAMES.get)
each_role = pytest.mark.parametrize("is_client", [False, True], ids=["server", "client"])


@pytest.fixture(scope="module")
def certificate(tmp_path_factory: pytest.TempPathFactory) -> CertificateFiles:
    directory: Path = tmp_path_factory.mktemp("tls")
    return CertificateAuthority(directory).issue("example.org")


def sizes(chance: random.Random) -> int:
    """Mostly stanzas, sometimes what fills records."""
    return chance.choice([1, 2, chance.randrange(1, 400), chance.randrange(1, 400), chance.randrange(1, 40000), 16384])


def cut(chance: random.Random, data: bytes) -> list[bytes]:
    """The data in a few pieces, or byte by byte if it is short."""
    if len(data) < 300 and chance.random() < 0.3:
        return [data[i : i + 1] for i in range(len(data))]
    ends = sorted(chance.randrange(len(data) + 1) for _ in range(chance.randrange(5)))
    return [data[begin:end] for begin, end in zip([0, *ends], [*ends, len(data)], strict=True)]


class Conversation:
    """What both sides have said and heard; bytes on the wire wait until they are taken, in pieces."""

    def __init__(self, end: TLSEnd, peer: OpenSSL, waiting: bytes, chance: random.Random) -> None:
        self.end, self.peer, self.chance = end, peer, chance
        self.to_end, self.to_peer = waiting, b""
        self.said_by_end, self.said_by_peer = b"", b""
        self.heard_by_end, self.heard_by_peer = b"", b""

    def say(self) -> None:
        texts = [self.chance.randbytes(sizes(self.chance)) for _ in range(self.chance.randrange(1, 4))]
        self.said_by_end += b"".join(texts)
        self.to_peer += self.end.seal(*texts)

    def peer_says(self) -> None:
        text = self.chance.randbytes(sizes(self.chance))
        self.said_by_peer += text
        self.peer.write(text)
        self.to_end += self.peer.sent()

    def update(self) -> None:
        self.to_peer += self.end.update(self.chance.random() < 0.5)

    def peer_updates(self) -> None:
        self.peer.update(self.chance.random() < 0.5)
        self.to_end += self.peer.sent()

    def deliver(self) -> None:
        """To the record layer, some or all of it."""
        taken = len(self.to_end) if self.chance.random() < 0.7 else self.chance.randrange(len(self.to_end) + 1)
        pieces, self.to_end = cut(self.chance, self.to_end[:taken]), self.to_end[taken:]
        for piece in pieces:
            plain, ended = self.end.open(piece, room=self.chance.choice([16385, 65536]))
            assert ended == "", f"alert {self.end.alert}"
            self.heard_by_end += plain
            if self.chance.random() < 0.2:
                self.end = TLSEnd.restore(self.end.export())
        assert self.said_by_peer.startswith(self.heard_by_end)

    def deliver_to_peer(self) -> None:
        taken = self.chance.randrange(len(self.to_peer) + 1)
        for piece in cut(self.chance, self.to_peer[:taken]):
            self.peer.receive(piece)
            self.heard_by_peer += self.peer.read()
        assert self.peer.ended == "", f"OpenSSL has ended it; alerts {self.peer.alerts}"
        self.to_peer = self.to_peer[taken:]
        self.to_end += self.peer.sent()

    def run(self, steps: int) -> None:
        turns = [self.say, self.peer_says, self.update, self.peer_updates, self.deliver, self.deliver_to_peer]
        weights = [5, 5, 1, 1, 6, 6]
        updates = 0
        for turn in self.chance.choices(turns, weights, k=steps):
            if turn == self.peer_updates:
                updates += 1
                if updates % 25 == 0:  # so that the record layer does not take it for a flood
                    self.peer_says()
            turn()
        while self.to_end or self.to_peer:
            self.deliver()
            self.deliver_to_peer()
        assert self.heard_by_end == self.said_by_peer
        assert self.heard_by_peer == self.said_by_end


@each_suite
@each_role
@pytest.mark.parametrize("seed", SEEDS)
def test_conversations(certificate: CertificateFiles, suite: int, is_client: bool, seed: int) -> None:
    chance = random.Random(f"{suite} {is_client} {seed}")
    habits = Habits([chance.choice([0, 1, 16, 255, 2000]) for _ in range(7)], chance.choice([512, 700, 4096, 16384]))
    end, peer, waiting = connect(suite, certificate, is_client=is_client, habits=habits, tickets=chance.randrange(4))
    conversation = Conversation(end, peer, waiting, chance)
    conversation.run(STEPS)
    # the end of it, from a side that chance chooses
    if chance.random() < 0.5:
        peer.receive(conversation.end.close())
        assert (peer.read(), peer.ended) == (b"", "closed")
        peer.close()
        assert conversation.end.open(peer.sent()) == (b"", "closed")
    else:
        peer.close()
        assert conversation.end.open(peer.sent()) == (b"", "closed")
        peer.receive(conversation.end.close())
        assert (peer.read(), peer.ended) == (b"", "closed")


@each_suite
@each_role
def test_each_padding_that_fits(certificate: CertificateFiles, suite: int, is_client: bool) -> None:
    paddings = [0, 1, 15, 16, 17, 4096, 16383, 16384]
    end, peer, waiting = connect(suite, certificate, is_client=is_client, habits=Habits(paddings))
    assert end.open(waiting) == (b"", "")
    for size in (1, 2, 1000, 16384):
        for _ in paddings:
            peer.write(b"x" * size)
            assert end.open(peer.sent()) == (b"x" * size, "")


@each_role
def test_openssl_answers_our_requests(certificate: CertificateFiles, is_client: bool) -> None:
    end, peer, waiting = connect(SUITES[0], certificate, is_client=is_client)
    end.open(waiting)
    for i in range(10):
        secret = end.incoming[0]
        peer.receive(end.update(requested=True) + end.seal(b"%d" % i))
        assert peer.read() == b"%d" % i
        peer.write(b"yes")
        assert end.open(peer.sent()) == (b"yes", "")
        assert end.incoming[0] != secret


@each_role
@pytest.mark.parametrize(
    ("data", "alert"),
    [
        (b"\x17\3\3\0\x20" + bytes(32), BAD_RECORD_MAC),
        (b"\x17\3\3\x50\0", RECORD_OVERFLOW),
        (b"\x14\3\3\0\1\1", UNEXPECTED_MESSAGE),
        (b"\x15\3\3\0\2\1\0", UNEXPECTED_MESSAGE),
    ],
)
def test_openssl_hears_our_alerts(certificate: CertificateFiles, is_client: bool, data: bytes, alert: int) -> None:
    end, peer, waiting = connect(SUITES[1], certificate, is_client=is_client)
    assert end.open(waiting + data) == (b"", "broken")
    peer.receive(end.close())
    assert (peer.read(), peer.ended, peer.alerts) == (b"", "broken", [alert])


# What is wrong, as a record made with the peer's keys: the alert that we say.
SAME_ALERT = {
    "a forged tag": lambda peer: peer.seal(23, b"x")[:-1] + b"\0",
    "too long": lambda peer: b"\x17\3\3\x60\0" + bytes(0x6000),
    "no type": lambda peer: peer.seal(0, b"", 20),
    "an unknown type": lambda peer: peer.seal(25, b"x"),
    "an empty alert": lambda peer: peer.seal(ALERT, b""),
    "ChangeCipherSpec": lambda peer: b"\x14\3\3\0\1\1",
    "an encrypted ChangeCipherSpec": lambda peer: peer.seal(20, b"\1"),
    "a Finished": lambda peer: peer.seal(HANDSHAKE, b"\x14\0\0\x20" + bytes(32)),
    "a KeyUpdate that goes on": lambda peer: peer.seal(HANDSHAKE, b"\x18\0\0\1\0\x18\0\0\1\0"),
    # one that is too long is for OpenSSL an illegal_parameter, against section 6.2
    "a KeyUpdate of length 0": lambda peer: peer.seal(HANDSHAKE, b"\x18\0\0\0"),
    "a KeyUpdate of value 2": lambda peer: peer.seal(HANDSHAKE, b"\x18\0\0\1\2"),
    "33 empty records": lambda peer: b"".join(peer.seal(23, b"") for _ in range(33)),
}


@each_role
@pytest.mark.parametrize("wrong", SAME_ALERT)
def test_openssl_says_the_same_alert(certificate: CertificateFiles, is_client: bool, wrong: str) -> None:
    """The same records for a record layer and for OpenSSL in its place."""
    end, openssl, waiting = connect(SUITES[0], certificate, is_client=is_client)
    assert end.open(waiting) == (b"", "")
    # OpenSSL reads what the end would have said, and the end what OpenSSL would have
    to_openssl = Direction(SUITES[0], end.outgoing[0], end.outgoing[3])
    to_end = Direction(SUITES[0], end.incoming[0], end.incoming[3])
    openssl.receive(SAME_ALERT[wrong](to_openssl))
    assert openssl.read() == b""
    assert openssl.ended == "broken"
    alerts = [Direction(SUITES[0], to_end.secret, to_end.sequence).open(each) for each in records_of(openssl.sent())]
    assert end.open(SAME_ALERT[wrong](to_end)) == (b"", "broken")
    assert alerts == [(ALERT, bytes([2, end.alert]))]


def test_close_notify_is_all_that_is_said_at_the_end(certificate: CertificateFiles) -> None:
    end, peer, _ = connect(SUITES[2], certificate, is_client=False)
    peer.receive(end.seal(b"bye") + end.close() + end.close())
    assert (peer.read(), peer.ended, peer.alerts) == (b"bye", "closed", [CLOSE_NOTIFY])
