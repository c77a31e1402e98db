"""The record layer in dialogues: what a peer may say, what it may not, and the alert that it gets then."""

from collections.abc import Callable

import pytest

from megaphone.wire.tls_end import CONTEXTS_PER_SUITE, STATE_BYTES, TLSEnd, expansions, forget_idle, pass_in_turn
from tests.unit.wire.tls_model import (
    ALERT,
    APPLICATION_DATA,
    BAD_RECORD_MAC,
    CLOSE_NOTIFY,
    DECODE_ERROR,
    HANDSHAKE,
    HANDSHAKE_FAILURE,
    ILLEGAL_PARAMETER,
    KEY_UPDATE,
    NAMES,
    RECORD_OVERFLOW,
    SECRET_BYTES,
    SUITES,
    UNEXPECTED_MESSAGE,
    USER_CANCELED,
    Direction,
    Peer,
    key_update,
    records_of,
    ticket,
)

REKEY = 1 << 24
SILENT_LIMIT = 32
SEQUENCE = 16 + 92  # of what comes, in an export


def connect(
    suite: int = SUITES[0], *, is_client: bool = False, incoming: int = 0, outgoing: int = 0
) -> tuple[TLSEnd, Peer]:
    """A record layer and its peer; `incoming` and `outgoing` are its sequence numbers."""
    theirs, ours = (bytes([letter]) * SECRET_BYTES[suite] for letter in b"pq")
    end = TLSEnd(suite, theirs, ours, is_client=is_client, incoming_sequence=incoming, outgoing_sequence=outgoing)
    return end, Peer(Direction(suite, ours, outgoing), Direction(suite, theirs, incoming))


def refused(end: TLSEnd, peer: Peer, data: bytes, alert: int) -> None:
    """The data ends the connection, now and for ever, with that alert."""
    assert end.open(data) == (b"", "broken")
    assert end.alert == alert
    assert end.partial_bytes == 0
    assert peer.hear(end.close()) == [(ALERT, bytes([2, alert]))]
    assert end.close() == b""
    assert end.open(peer.data(b"more")) == (b"", "broken")
    with pytest.raises(ValueError, match="ended"):
        end.seal(b"more")
    assert end.update() == b""


each_suite = pytest.mark.parametrize("suite", SUITES, ids=NAMES.get)
each_role = pytest.mark.parametrize("is_client", [False, True], ids=["server", "client"])


# --- data ---


def test_the_state_of_a_connection_is_small() -> None:
    assert STATE_BYTES == 232


@each_suite
@each_role
def test_data_in_both_directions(suite: int, is_client: bool) -> None:
    end, peer = connect(suite, is_client=is_client)
    for i in range(300):
        text = b"x" * i
        assert peer.hear(end.seal(text)) == ([(APPLICATION_DATA, text)] if text else [])
        assert end.open(peer.data(text + b"!", padding=i % 3 * 50)) == (text + b"!", "")
    assert end.suite == NAMES[suite]


def test_suites_that_do_not_exist() -> None:
    for suite in (0, 0x1300, 0x1304, 0xC02F, 0x11301, -1):
        with pytest.raises(ValueError, match="suite"):
            TLSEnd(suite, bytes(32), bytes(32))
    with pytest.raises(ValueError, match="48"):
        TLSEnd(SUITES[1], bytes(32), bytes(32))


def test_regions_are_gathered_into_one_record() -> None:
    end, peer = connect()
    assert peer.hear(end.seal(b"a", b"", b"bc" * 500, b"d")) == [(APPLICATION_DATA, b"a" + b"bc" * 500 + b"d")]
    assert end.seal() == end.seal(b"") == b""


def test_more_than_a_record_is_split_at_16384_bytes() -> None:
    end, peer = connect()
    parts = [bytes([i]) * 9000 for i in range(5)]
    heard = peer.hear(end.seal(*parts))
    assert [len(content) for _, content in heard] == [16384, 16384, 45000 - 32768]
    assert b"".join(content for _, content in heard) == b"".join(parts)


def test_a_record_needs_room_for_itself() -> None:
    end, peer = connect()
    envelope = 5 + 1 + 16
    assert end.seal_into(b"x" * 100, 100 + envelope - 1) == (0, b"")
    taken, record = end.seal_into(b"x" * 100, 100 + envelope)
    assert (taken, peer.hear(record)) == (100, [(APPLICATION_DATA, b"x" * 100)])
    end.open(peer.update(requested=True))
    assert end.seal_into(b"y", 1 + envelope + 26) == (0, b"")
    taken, records = end.seal_into(b"y", 1 + envelope + 27)
    assert taken == 1
    assert peer.hear(records) == [(HANDSHAKE, key_update(False)), (APPLICATION_DATA, b"y")]


def test_what_comes_in_many_records_is_read_in_few_calls() -> None:
    end, peer = connect()
    data = b"".join(peer.data(bytes([i]) * 1000) for i in range(100))
    plain = b"".join(bytes([i]) * 1000 for i in range(100))
    assert end.open(data, room=65536) == (plain, "")
    assert end.changes == 100


@pytest.mark.parametrize("size", [1, 16383, 16384])
def test_the_largest_records(size: int) -> None:
    end, peer = connect()
    assert end.open(peer.data(b"x" * size, padding=16384 - size)) == (b"x" * size, "")


def test_a_record_byte_by_byte() -> None:
    end, peer = connect()
    record = peer.data(b"hello", padding=7)
    for i in range(len(record) - 1):
        assert end.open(record[i : i + 1]) == (b"", "")
        assert end.partial_bytes == i + 1
    assert end.open(record[-1:]) == (b"hello", "")
    assert end.partial_bytes == 0


def test_only_what_has_come_of_a_record_is_kept() -> None:
    end, peer = connect()
    records = peer.data(b"one") + peer.data(b"x" * 16384)
    assert end.open(records[:50]) == (b"one", "")
    assert end.partial_bytes == 50 - 25
    assert end.open(records[50:]) == (b"x" * 16384, "")


# --- contexts ---


@each_suite
def test_more_connections_than_contexts(suite: int) -> None:
    """Each is busy once, then all others, then again: none uses another's key."""
    ends = [connect(suite) for _ in range(CONTEXTS_PER_SUITE // 2 + 6)]
    for turn in range(3):
        for number, (end, peer) in enumerate(ends):
            text = b"%d %d" % (turn, number)
            assert peer.hear(end.seal(text)) == [(APPLICATION_DATA, text)]
            assert end.open(peer.data(text)) == (text, "")


def test_contexts_of_those_that_were_used_last_are_kept() -> None:
    secrets = [i.to_bytes(2, "big") * 16 for i in range(CONTEXTS_PER_SUITE + 10)]
    ends = [TLSEnd(SUITES[0], secret, secret) for secret in secrets]
    first, others = ends[0], ends[1:]
    first.seal(b"x")
    before = expansions()
    for end in others:
        end.seal(b"x")
        first.seal(b"x")
    assert expansions() == before + len(others), "the first one's is always among them"
    for end in others[-CONTEXTS_PER_SUITE + 1 :]:
        end.seal(b"x")
    assert expansions() == before + len(others)
    others[0].seal(b"x")
    assert expansions() == before + len(others) + 1


def test_contexts_that_are_idle_are_wiped() -> None:
    """Not before ten seconds, and only those that nobody uses."""
    busy, idle = (TLSEnd(SUITES[0], secret * 32, secret * 32) for secret in (b"b", b"i"))
    idle.seal(b"x")
    forget_idle(1_000)
    before = expansions()
    for now_ticks in (1_050, 1_159, 1_160, 1_330):
        busy.seal(b"x")
        forget_idle(now_ticks)
    assert expansions() - before <= 1
    busy.seal(b"x")
    assert expansions() - before <= 1
    idle.seal(b"x")
    assert expansions() - before == 2
    assert Direction(SUITES[0], b"i" * 32).open(TLSEnd(SUITES[0], b"i" * 32, b"i" * 32).seal(b"y")) == (23, b"y")


def test_contexts_of_connections_that_are_gone_are_not_used() -> None:
    for i in range(200):
        secret = bytes([i]) * 32
        end = TLSEnd(SUITES[0], secret, secret)
        assert end.open(Direction(SUITES[0], secret).seal(23, b"x")) == (b"x", "")
        assert Direction(SUITES[0], secret).open(end.seal(b"y")) == (23, b"y")
        del end


def test_records_between_two_ends() -> None:
    ones = [TLSEnd(SUITES[2], b"a" * 32, b"b" * 32) for _ in range(3)]
    others = [TLSEnd(SUITES[2], b"b" * 32, b"a" * 32, is_client=True) for _ in range(3)]
    pass_in_turn(ones, others, b"x" * 200, 300)
    assert [each.incoming[3] for each in others] == [100, 100, 100]


# --- records that are refused ---


def test_a_forged_tag() -> None:
    end, peer = connect()
    record = bytearray(peer.data(b"hello"))
    record[-1] ^= 1
    refused(end, peer, bytes(record), BAD_RECORD_MAC)


@pytest.mark.parametrize("at", [1, 2, 5, 10])
def test_a_changed_byte(at: int) -> None:
    """Also of the version, which means nothing but is authenticated."""
    end, peer = connect()
    record = bytearray(peer.data(b"hello"))
    record[at] ^= 0x20
    refused(end, peer, bytes(record), BAD_RECORD_MAC)


def test_data_before_a_forged_record_is_delivered() -> None:
    end, peer = connect()
    data = peer.data(b"one") + peer.data(b"two") + bytes.fromhex("17030300110000000000000000000000000000000000")
    assert end.open(data, room=65536) == (b"onetwo", "broken")
    assert end.alert == BAD_RECORD_MAC


def test_a_record_of_another_epoch() -> None:
    end, peer = connect()
    early = peer.data(b"early")
    assert end.open(peer.update()) == (b"", "broken")  # its number is 1, and 0 has not come
    end, peer = connect()
    assert end.open(peer.update()) == (b"", "")
    refused(end, peer, early, BAD_RECORD_MAC)


def test_a_repeated_record() -> None:
    end, peer = connect()
    record = peer.data(b"again")
    assert end.open(record) == (b"again", "")
    refused(end, peer, record, BAD_RECORD_MAC)


@pytest.mark.parametrize("kind", [0, 20, 21, 22, 24, 25, 255])
def test_records_in_clear(kind: int) -> None:
    """ChangeCipherSpec, alerts, handshake messages, heartbeats: nothing is in clear any more (section 5)."""
    end, peer = connect()
    refused(end, peer, bytes([kind, 3, 3, 0, 1, 1]), UNEXPECTED_MESSAGE)


def test_an_alert_in_clear_is_refused_by_its_header() -> None:
    end, peer = connect()
    refused(end, peer, bytes([21, 3, 3, 0, 2]), UNEXPECTED_MESSAGE)


def test_another_protocol() -> None:
    end, peer = connect()
    refused(end, peer, b"<presence/>", UNEXPECTED_MESSAGE)


@pytest.mark.parametrize("size", [16385 + 16 + 1, 16384 + 256, 65535])
def test_records_that_are_too_long_are_refused_by_their_header(size: int) -> None:
    end, peer = connect()
    refused(end, peer, b"\x17\3\3" + size.to_bytes(2, "big"), RECORD_OVERFLOW)


def test_content_that_is_too_long() -> None:
    end, peer = connect()
    refused(end, peer, peer.data(b"x" * 16385), RECORD_OVERFLOW)


@pytest.mark.parametrize("size", range(16))
def test_records_without_a_tag(size: int) -> None:
    end, peer = connect()
    refused(end, peer, b"\x17\3\3" + size.to_bytes(2, "big") + bytes(size), BAD_RECORD_MAC)


@pytest.mark.parametrize("padding", [0, 1, 500])
def test_records_of_nothing_but_padding(padding: int) -> None:
    end, peer = connect()
    refused(end, peer, peer.outgoing.seal(0, b"", padding), UNEXPECTED_MESSAGE)


def test_a_record_of_nothing_but_a_tag() -> None:
    end, peer = connect()
    header = b"\x17\3\3\0\x10"
    tag = peer.outgoing.aead().encrypt(peer.outgoing.nonce(), b"", header)
    refused(end, peer, header + tag, UNEXPECTED_MESSAGE)


@pytest.mark.parametrize("kind", [1, 20, 24, 25, 255])
def test_types_that_do_not_exist(kind: int) -> None:
    """An encrypted ChangeCipherSpec, too."""
    end, peer = connect()
    refused(end, peer, peer.outgoing.seal(kind, b"\1"), UNEXPECTED_MESSAGE)


@pytest.mark.parametrize("kind", [ALERT, HANDSHAKE])
def test_empty_alerts_and_handshake_messages(kind: int) -> None:
    end, peer = connect()
    refused(end, peer, peer.outgoing.seal(kind, b"", 3), UNEXPECTED_MESSAGE)


def test_a_flood_of_empty_records() -> None:
    end, peer = connect()
    for _ in range(3):
        for i in range(SILENT_LIMIT):
            assert end.open(peer.data(b"", padding=i)) == (b"", "")
        assert end.open(peer.data(b"x")) == (b"x", "")
    for _ in range(SILENT_LIMIT):
        assert end.open(peer.data(b"")) == (b"", "")
    refused(end, peer, peer.data(b""), UNEXPECTED_MESSAGE)


def test_a_flood_of_key_updates() -> None:
    end, peer = connect()
    for _ in range(SILENT_LIMIT):
        assert end.open(peer.update(requested=True)) == (b"", "")
    refused(end, peer, peer.update(requested=True), UNEXPECTED_MESSAGE)


def test_a_flood_of_key_updates_that_moves() -> None:
    end, peer = connect()
    for _ in range(SILENT_LIMIT):
        assert end.open(peer.update()) == (b"", "")
        end = TLSEnd.restore(end.export())
    refused(end, peer, peer.update(), UNEXPECTED_MESSAGE)


def test_a_flood_of_warnings() -> None:
    end, peer = connect()
    data = b"".join(peer.alert(USER_CANCELED, level=1) for _ in range(SILENT_LIMIT + 1))
    refused(end, peer, data, UNEXPECTED_MESSAGE)


def test_a_flood_of_crumbs_of_a_ticket() -> None:
    end, peer = connect(is_client=True)
    refused(end, peer, b"".join(peer.handshake(bytes([crumb])) for crumb in ticket(40)), UNEXPECTED_MESSAGE)


# --- ends ---


@each_role
def test_both_close(is_client: bool) -> None:
    end, peer = connect(is_client=is_client)
    assert end.open(peer.data(b"bye") + peer.alert(CLOSE_NOTIFY, level=1) + b"rubbish") == (b"bye", "closed")
    assert end.open(b"") == (b"", "closed")
    assert end.open(b"more rubbish") == (b"", "closed")
    assert end.alert == -1
    # we may still speak (section 6.1)
    assert peer.hear(end.seal(b"and one more")) == [(APPLICATION_DATA, b"and one more")]
    assert not end.closed
    assert peer.hear(end.close()) == [(ALERT, bytes([1, CLOSE_NOTIFY]))]
    assert end.closed
    assert end.close() == b""
    with pytest.raises(ValueError, match="ended"):
        end.seal(b"x")


def test_the_peer_may_speak_when_we_have_closed() -> None:
    end, peer = connect()
    assert peer.hear(end.close()) == [(ALERT, b"\1\0")]
    assert end.open(peer.data(b"still here")) == (b"still here", "")
    assert end.open(peer.update(requested=True)) == (b"", "")
    assert end.update() == b""
    assert end.open(peer.alert(CLOSE_NOTIFY)) == (b"", "closed")


@pytest.mark.parametrize("level", [0, 1, 2, 255])
@pytest.mark.parametrize("description", [HANDSHAKE_FAILURE, UNEXPECTED_MESSAGE, 100, 255])
def test_the_peers_alerts_end_the_connection_without_an_answer(description: int, level: int) -> None:
    """Whatever their level, known or not (section 6.2)."""
    end, peer = connect()
    assert end.open(peer.alert(description, level)) == (b"", "broken")
    assert end.alert == 256 + description
    assert end.close() == b""
    assert end.closed
    with pytest.raises(ValueError, match="ended"):
        end.seal(b"x")


def test_user_canceled_is_followed_by_close_notify() -> None:
    end, peer = connect()
    assert end.open(peer.alert(USER_CANCELED, level=1)) == (b"", "")
    assert end.open(peer.data(b"data")) == (b"data", "")
    assert end.open(peer.alert(USER_CANCELED, level=2) + peer.alert(CLOSE_NOTIFY)) == (b"", "closed")


@pytest.mark.parametrize("content", [b"\2", b"\1\0\0", b"\1\0\1\0"])
def test_alerts_of_another_length(content: bytes) -> None:
    """Neither in pieces nor several in a record (section 5.1)."""
    end, peer = connect()
    refused(end, peer, peer.outgoing.seal(ALERT, content), DECODE_ERROR)


# --- KeyUpdate ---


@each_suite
@each_role
def test_the_peer_changes_its_keys(suite: int, is_client: bool) -> None:
    end, peer = connect(suite, is_client=is_client)
    for i in range(5):
        text = b"%d" % i
        assert end.open(peer.data(text) + peer.update() + peer.data(text)) == (text + text, "")
        assert end.incoming[0] == peer.outgoing.secret
    assert end.outgoing[3] == 0, "nothing is answered"
    assert peer.hear(end.seal(b"x")) == [(APPLICATION_DATA, b"x")]


@each_suite
def test_the_peer_asks_for_new_keys(suite: int) -> None:
    end, peer = connect(suite)
    for _ in range(3):
        assert end.open(peer.update(requested=True)) == (b"", "")
        assert peer.hear(end.seal(b"x")) == [(HANDSHAKE, key_update(False)), (APPLICATION_DATA, b"x")]
        assert peer.hear(end.seal(b"y")) == [(APPLICATION_DATA, b"y")]


def test_several_requests_get_one_answer() -> None:
    end, peer = connect()
    assert end.open(peer.update(requested=True) + peer.update() + peer.update(requested=True)) == (b"", "")
    assert peer.hear(end.seal(b"x")) == [(HANDSHAKE, key_update(False)), (APPLICATION_DATA, b"x")]
    assert peer.hear(end.seal(b"x")) == [(APPLICATION_DATA, b"x")]


def test_our_own_update_is_the_answer_too() -> None:
    end, peer = connect()
    assert end.open(peer.update(requested=True)) == (b"", "")
    assert peer.hear(end.update()) == [(HANDSHAKE, key_update(False))]
    assert peer.hear(end.seal(b"x")) == [(APPLICATION_DATA, b"x")]


def test_requests_that_cross() -> None:
    end, peer = connect()
    ours, theirs = end.update(requested=True), peer.update(requested=True)
    assert end.open(theirs) == (b"", "")
    assert peer.hear(ours) == [(HANDSHAKE, key_update(True))]
    assert peer.hear(end.seal(b"x")) == [(HANDSHAKE, key_update(False)), (APPLICATION_DATA, b"x")]


def test_our_key_is_changed_before_it_is_used_up() -> None:
    end, peer = connect(outgoing=REKEY - 2)
    heard = peer.hear(end.seal(b"1") + end.seal(b"2") + end.seal(b"3") + end.seal(b"4"))
    assert heard == [
        (APPLICATION_DATA, b"1"),
        (APPLICATION_DATA, b"2"),
        (HANDSHAKE, key_update(False)),
        (APPLICATION_DATA, b"3"),
        (APPLICATION_DATA, b"4"),
    ]
    assert end.outgoing[3] == 2


def test_the_peer_is_asked_to_change_its_key_once() -> None:
    end, peer = connect(incoming=REKEY - 1)
    assert peer.hear(end.seal(b"1")) == [(APPLICATION_DATA, b"1")]
    assert end.open(peer.data(b"x")) == (b"x", "")
    assert peer.hear(end.seal(b"2")) == [(HANDSHAKE, key_update(True)), (APPLICATION_DATA, b"2")]
    assert end.open(peer.data(b"x")) == (b"x", "")
    assert peer.hear(end.seal(b"3")) == [(APPLICATION_DATA, b"3")]
    assert end.open(peer.update() + peer.data(b"y")) == (b"y", "")
    assert end.incoming[3] == 1
    assert peer.hear(end.seal(b"4")) == [(APPLICATION_DATA, b"4")]
    # and once with the next key, when that has been used as much
    exported = end.export()
    end = TLSEnd.restore(exported[:SEQUENCE] + REKEY.to_bytes(8, "big") + exported[SEQUENCE + 8 :])
    assert peer.hear(end.seal(b"5")) == [(HANDSHAKE, key_update(True)), (APPLICATION_DATA, b"5")]
    assert peer.hear(end.seal(b"6")) == [(APPLICATION_DATA, b"6")]


@pytest.mark.parametrize("value", [2, 255])
def test_update_requests_that_do_not_exist(value: int) -> None:
    end, peer = connect()
    refused(end, peer, peer.handshake(bytes([KEY_UPDATE, 0, 0, 1, value])), ILLEGAL_PARAMETER)


@pytest.mark.parametrize("message", [b"\x18\0\0\0", b"\x18\0\0\2\0\0", b"\x18\1\0\1\0", b"\x18\xff\xff\xff"])
def test_key_updates_of_another_length(message: bytes) -> None:
    end, peer = connect()
    refused(end, peer, peer.handshake(message), DECODE_ERROR)


@pytest.mark.parametrize("behind", [b"\0", key_update(False)])
def test_a_key_changes_at_the_end_of_a_record(behind: bytes) -> None:
    end, peer = connect()
    refused(end, peer, peer.handshake(key_update(True) + behind), UNEXPECTED_MESSAGE)


@pytest.mark.parametrize("cut", [1, 2, 3, 4])
def test_a_key_update_in_two_records(cut: int) -> None:
    end, peer = connect()
    message = key_update(True)
    assert end.open(peer.handshake(message[:cut]) + peer.handshake(message[cut:])) == (b"", "")
    peer.outgoing.update()
    assert end.open(peer.data(b"new")) == (b"new", "")
    assert peer.hear(end.seal(b"x")) == [(HANDSHAKE, key_update(False)), (APPLICATION_DATA, b"x")]


@pytest.mark.parametrize("content", [b"data", b""])
def test_nothing_comes_between_the_parts_of_a_handshake_message(content: bytes) -> None:
    end, peer = connect()
    refused(end, peer, peer.handshake(key_update(True)[:3]) + peer.data(content), UNEXPECTED_MESSAGE)


# --- other messages behind the handshake ---

SERVERS_REFUSE = range(256)
CLIENTS_REFUSE = [kind for kind in range(256) if kind != 4]


@pytest.mark.parametrize(("is_client", "kinds"), [(False, SERVERS_REFUSE), (True, CLIENTS_REFUSE)])
def test_messages_that_are_refused_by_their_type(is_client: bool, kinds: list[int]) -> None:
    """Renegotiation, client authentication that was not offered, tickets from a client … (sections 4.1.2, 4.6)."""
    for kind in kinds:
        if kind != KEY_UPDATE:
            end, peer = connect(is_client=is_client)
            refused(end, peer, peer.handshake(bytes([kind])), UNEXPECTED_MESSAGE)


def test_a_client_ignores_tickets() -> None:
    end, peer = connect(is_client=True)
    tickets = ticket(200) + ticket(70000) + ticket(4)
    records = [tickets[at : at + 16384] for at in range(0, len(tickets), 16384)]
    assert end.open(b"".join(peer.handshake(each) for each in records) + peer.data(b"data")) == (b"data", "")
    assert end.open(peer.handshake(ticket(100) + key_update(False))) == (b"", "")
    peer.outgoing.update()
    assert end.open(peer.data(b"new")) == (b"new", "")


def test_a_ticket_in_crumbs() -> None:
    end, peer = connect(is_client=True)
    assert end.open(b"".join(peer.handshake(bytes([crumb])) for crumb in ticket(20)) + peer.data(b"x")) == (b"x", "")


def test_a_type_that_follows_a_ticket_is_refused() -> None:
    end, peer = connect(is_client=True)
    refused(end, peer, peer.handshake(ticket(20) + b"\x0d\0\0\5"), UNEXPECTED_MESSAGE)


# --- export ---


@each_suite
def test_another_process_goes_on(suite: int) -> None:
    end, peer = connect(suite, incoming=7, outgoing=9)
    record = peer.data(b"x" * 300)
    assert end.open(peer.update(requested=True)[:0] + record[:100]) == (b"", "")
    exported = end.export()
    assert len(exported) == 216 + 100
    other = TLSEnd.restore(exported)
    assert other.export() == exported
    assert other.open(record[100:]) == (b"x" * 300, "")
    assert peer.hear(other.seal(b"y")) == [(APPLICATION_DATA, b"y")]
    assert other.suite == NAMES[suite]


def test_what_is_owed_is_exported() -> None:
    end, peer = connect(is_client=True)
    assert end.open(peer.update(requested=True) + peer.handshake(ticket(50)[:10])) == (b"", "")
    end = TLSEnd.restore(end.export())
    assert end.open(peer.handshake(ticket(50)[10:])) == (b"", "")
    assert peer.hear(end.seal(b"x")) == [(HANDSHAKE, key_update(False)), (APPLICATION_DATA, b"x")]


def test_ends_are_exported() -> None:
    end, peer = connect()
    end.open(peer.alert(HANDSHAKE_FAILURE))
    end = TLSEnd.restore(end.export())
    assert (end.alert, end.open(b"x"), end.close()) == (256 + HANDSHAKE_FAILURE, (b"", "broken"), b"")
    end, peer = connect()
    end.open(b"nonsense")
    end = TLSEnd.restore(end.export())
    assert peer.hear(end.close()) == [(ALERT, bytes([2, UNEXPECTED_MESSAGE]))]
    assert TLSEnd.restore(end.export()).close() == b""


def damaged(at: int, value: int) -> Callable[[bytes], bytes]:
    return lambda exported: exported[:at] + bytes([value]) + exported[at + 1 :]


@pytest.mark.parametrize(
    "damage",
    [
        damaged(0, 0),
        damaged(0, 2),
        damaged(1, 0x80),
        damaged(2, 0x14),
        damaged(3, 0x04),
        damaged(4, 34),
        damaged(6, 5),
        damaged(13, 0),
        damaged(216, 22),
        damaged(219, 0xFF),
        damaged(219, 0),
        lambda exported: exported[:-1],
        lambda exported: exported + b"x",
        lambda exported: exported[:216],
        lambda exported: exported[:10],
        lambda exported: b"",
    ],
)
def test_what_was_not_exported_is_not_taken(damage: Callable[[bytes], bytes]) -> None:
    end, peer = connect()
    end.open(peer.data(b"x" * 300)[:100])
    exported = end.export()
    assert TLSEnd.restore(exported).export() == exported
    with pytest.raises(ValueError, match="export"):
        TLSEnd.restore(damage(exported))


def test_every_change_shows() -> None:
    end, peer = connect(is_client=True)
    seen = {end.changes}

    def changed() -> bool:
        new = end.changes not in seen
        seen.add(end.changes)
        return new

    record = peer.data(b"hello")
    for data in (record[:3], record[3:20], record[20:], peer.data(b""), peer.update(requested=True)):
        end.open(data)
        assert changed()
    end.open(b"")
    assert not changed()
    end.seal(b"x")
    assert changed()
    end.update()
    assert changed()
    end.open(peer.handshake(ticket(50)[:7]))
    assert changed()
    end.open(peer.handshake(ticket(50)[7:]) + peer.alert(CLOSE_NOTIFY))
    assert changed()
    end.close()
    assert changed()
    end, _ = connect()
    seen = {end.changes}
    assert end.open(b"in clear") == (b"", "broken")
    assert changed()


def test_records_are_what_their_headers_say() -> None:
    end, _ = connect()
    assert [len(record) for record in records_of(end.seal(b"x" * 16385))] == [16406, 23]
    assert end.seal(b"x")[:5] == b"\x17\3\3\0\x12"
