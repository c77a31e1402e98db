"""Dialogues with one BOSH session: who is answered when, with what, and how it ends."""

import hashlib

import pytest

from megaphone.stream.bosh import OPENING_SECONDS
from megaphone.stream.bosh_terms import BoshLimits
from tests.unit.stream.bosh_people import FEATURES, FIRST, HEADER, Play


def stream_error(condition: str) -> bytes:
    error = f"<stream:error><{condition} xmlns='urn:ietf:params:xml:ns:xmpp-streams'/></stream:error></stream:stream>"
    return error.encode()


def message(text: str) -> bytes:
    return f"<message><body>{text}</body></message>".encode()


def test_the_first_answer_says_what_holds_for_the_session() -> None:
    play = Play()
    first = play.answers[1]
    assert {name: first.get(name) for name in ("sid", "wait", "requests", "hold", "ver", "from", "authid", "ack")} == {
        **{"sid": "sid", "wait": "60", "requests": "2", "hold": "1", "ver": "1.6", "from": "example.org"},
        **{"authid": "stream-id", "ack": "1"},
    }
    assert first.get("{urn:xmpp:xbosh}restartlogic") == "true"
    assert [element.tag for element in first] == ["{http://etherx.jabber.org/streams}features"]
    assert play.stream == (
        b"<stream:stream xmlns='jabber:client' xmlns:stream='http://etherx.jabber.org/streams' to='example.org'"
        b" xml:lang='en' version='1.0'>"
    )


@pytest.mark.parametrize(
    ("first", "said"),
    [
        ("wait='10' hold='5'", {"wait": "10", "hold": "1", "requests": "2", "ver": "1.11"}),
        ("wait='900' hold='1' ver='1.9'", {"wait": "60", "ver": "1.9"}),
        ("ver='2.0'", {"wait": "60", "hold": "1", "ver": "1.11"}),
        ("wait='0' hold='1'", {"wait": "0", "hold": "0", "requests": "2"}),
    ],
)
def test_what_a_client_asks_for_and_gets(first: str, said: dict[str, str]) -> None:
    play = Play(f"to='example.org' {first}")
    assert {name: play.answers[1].get(name) for name in said} == said
    assert play.answers[1].get("ack") is None


def test_without_features_the_first_answer_comes_all_the_same() -> None:
    play = Play(features=False)
    assert not play.answers
    play.at(OPENING_SECONDS)
    assert play.answers[1].get("sid") == "sid"
    play.send(2)
    play.server(HEADER + FEATURES)
    assert [element.tag for element in play.answers[2]] == ["{http://etherx.jabber.org/streams}features"]


def test_a_request_is_held_until_there_is_something_or_wait_is_over() -> None:
    play = Play()
    play.send(2)
    play.at(59.9)
    assert 2 not in play.answers
    play.at(60)
    assert (play.said(2), play.answers[2].get("type")) == ([], None)
    play.send(3)
    play.server(message("one") + message("two")[:9])
    assert play.said(3) == ["one"]
    play.server(message("two")[9:])
    play.send(4)
    assert play.said(4) == ["two"]


def test_a_second_request_takes_the_place_of_the_first() -> None:
    play = Play()
    play.send(2)
    play.at(5)
    play.send(3, inner="<iq type='get' id='1'/>")
    assert play.answered == [1, 2]
    assert play.said(2) == []
    assert play.answers[2].get("ack") == "3"
    assert play.stream.endswith(b"version='1.0'><iq type='get' id='1'/>")


def test_requests_that_overtake_each_other_are_put_in_order() -> None:
    play = Play()
    play.send(3, inner=message("b").decode())
    assert message("b") not in play.stream
    play.send(2, inner=message("a").decode())
    assert play.stream.endswith(message("a") + message("b"))
    assert play.answered == [1, 2]


def test_a_lost_answer_is_given_again() -> None:
    play = Play()
    play.send(2)
    play.server(message("once"))
    play.answers.clear()
    play.send(2)
    assert play.said(2) == ["once"]
    play.send(3)
    play.server(message("next"))
    play.answers.clear()
    play.send(3)
    play.send(2)
    assert (play.said(3), play.said(2)) == (["next"], ["once"])
    play.send(4, inner=message("to the server").decode())
    play.send(4, inner=message("to the server").decode())
    assert play.stream.count(b"to the server") == 1


def test_a_request_that_comes_again_on_another_connection_is_held_there() -> None:
    play = Play()
    number = play.send(2)
    play.send(2)
    assert play.given_up == [number]
    play.send(4 - 1, inner=message("a").decode())
    assert play.answered == [1, 2]


def test_whose_connection_is_gone_is_not_answered_before_it_comes_again() -> None:
    play = Play()
    number = play.send(2)
    play.gone(number)
    play.server(message("kept"))
    assert 2 not in play.answers
    play.send(2)
    assert play.said(2) == ["kept"]


def test_what_nobody_asks_for_again_is_in_the_buffer() -> None:
    play = Play()
    play.gone(play.send(2))
    play.server(message("for rid 2"))
    play.at(10)
    play.send(3)
    assert 2 not in play.answers
    play.send(2)
    assert play.said(2) == ["for rid 2"]


@pytest.mark.parametrize("rid", [2, 11, 1000])
def test_a_rid_outside_the_window(rid: int) -> None:
    """Answered so long ago that the answer is not kept, or too far ahead."""
    play = Play()
    for number in range(2, 9):
        play.at(number * 10.0)
        play.send(number)
    play.send(rid)
    assert play.condition(rid) == "item-not-found"
    assert play.condition(8) == "item-not-found"
    assert play.session.ended


def test_more_requests_than_agreed() -> None:
    play = Play()
    play.send(2)
    play.send(4)
    play.session.stalled = True
    play.send(3)
    assert play.condition(3) == "policy-violation"


def test_polling_too_fast() -> None:
    play = Play("wait='0' to='example.org'")
    play.at(10)
    play.send(2)
    assert play.said(2) == []
    play.at(12)
    play.send(3)
    assert play.answers[3].get("type") is None
    play.at(13.9)
    play.send(4)
    assert play.condition(4) == "policy-violation"


def test_polling_on_while_something_comes() -> None:
    play = Play("wait='0' to='example.org'")
    for rid in range(2, 6):
        play.server(message(str(rid)))
        play.send(rid)
        assert play.said(rid) == [str(rid)]


def test_empty_requests_that_push_each_other_out() -> None:
    play = Play()
    play.at(10)
    play.send(2)
    play.at(11)
    play.send(3)
    assert play.condition(3) == "policy-violation"
    assert play.condition(2) == "policy-violation"


def after_an_answer() -> Play:
    """Rid 2 has been answered, a moment ago."""
    play = Play()
    play.send(2, inner="<iq xmlns='jabber:client'/>")
    play.server(message("for rid 2"))
    assert play.said(2) == ["for rid 2"]
    return play


def test_an_empty_request_that_the_next_one_has_overtaken() -> None:
    """Each comes by a connection of its own. The empty one is not the last, so it pushes nothing out."""
    play = after_an_answer()
    play.send(4, inner="<presence xmlns='jabber:client'/>")
    play.send(3)
    assert not play.session.ended
    assert play.said(3) == []
    assert play.stream.endswith(b"<presence xmlns='jabber:client'/>")
    play.server(message("for rid 4"))
    assert play.said(4) == ["for rid 4"]


def test_an_empty_request_that_another_empty_one_has_overtaken() -> None:
    play = after_an_answer()
    play.send(4)
    play.send(3)
    assert play.condition(4) == "policy-violation"


def test_inactivity() -> None:
    play = Play()
    play.send(2)
    play.at(60)
    play.at(119.9)
    assert not play.session.ended
    play.at(120)
    assert play.session.expired
    assert play.session.forgotten(120)


def test_a_connection_that_is_gone_counts_from_then_on() -> None:
    play = Play()
    play.at(30)
    play.gone(play.send(2))
    play.at(89.9)
    assert not play.session.ended
    play.at(90)
    assert play.session.expired


def test_a_pause() -> None:
    play = Play()
    play.send(2)
    play.send(3, "pause='100'")
    assert play.answered == [1, 2, 3]
    play.server(message("meanwhile"))
    play.at(99)
    assert not play.session.ended
    play.send(4)
    assert play.said(4) == ["meanwhile"]
    play.at(99 + 60)
    assert play.session.expired


def test_a_pause_that_is_too_long() -> None:
    play = Play()
    play.send(2, "pause='121'")
    assert play.condition(2) == "policy-violation"


def test_a_restart_says_a_new_header() -> None:
    play = Play()
    begun = play.stream
    play.send(2, "xmpp:restart='true' to='example.org'")
    assert play.stream == begun * 2
    play.server(HEADER + FEATURES)
    assert [element.tag for element in play.answers[2]] == ["{http://etherx.jabber.org/streams}features"]


def test_who_asks_and_says_nothing_is_alive() -> None:
    """To the edge and the server: but not before SASL has ended, where white space is forbidden."""
    play = Play()
    begun = play.stream
    play.send(2)
    assert play.stream == begun
    play.at(3)
    play.send(3, "xmpp:restart='true'")
    play.at(6)
    play.server(HEADER + FEATURES)
    play.send(4)
    assert play.stream == begun * 2 + b" "


def test_the_client_terminates() -> None:
    play = Play()
    play.send(2)
    play.send(3, "type='terminate'", "<presence type='unavailable'/>")
    assert play.stream.endswith(b"<presence type='unavailable'/></stream:stream>")
    assert (play.condition(2), play.condition(3)) == (None, None)
    play.send(4)
    assert play.condition(4) is None
    play.answers.clear()
    play.send(3, "type='terminate'")
    assert play.condition(3) is None


@pytest.mark.parametrize(
    ("condition", "expected"),
    [
        ("system-shutdown", "system-shutdown"),
        ("host-unknown", "host-unknown"),
        ("remote-connection-failed", "remote-connection-failed"),
        ("internal-server-error", "internal-server-error"),
        ("conflict", "remote-stream-error"),
    ],
)
def test_the_server_ends_the_stream(condition: str, expected: str) -> None:
    play = Play()
    play.send(2)
    play.server(message("last words") + stream_error(condition))
    if 2 in play.answers and play.answers[2].get("type") is None:
        play.send(3)
    rid = max(play.answers)
    assert play.condition(rid) == expected
    assert play.said(rid)[0] == "last words"
    assert play.answers[rid][1].tag == "{http://etherx.jabber.org/streams}error"
    assert play.answers[rid][1][0].tag == f"{{urn:ietf:params:xml:ns:xmpp-streams}}{condition}"


def test_the_end_is_told_to_who_asks_next() -> None:
    play = Play()
    play.server(message("one") + b"</stream:stream>")
    assert play.session.ended
    play.send(2)
    assert (play.condition(2), play.said(2)) == (None, ["one"])


def test_a_server_that_just_hangs_up() -> None:
    play = Play()
    play.send(2)
    play.hang_up()
    assert play.condition(2) == "remote-connection-failed"


def test_no_host_was_named() -> None:
    play = Play("wait='60'", features=False)
    play.server(HEADER + stream_error("host-unknown"))
    assert play.condition(1) == "improper-addressing"


def test_clients_are_sent_elsewhere() -> None:
    play = Play(limits=BoshLimits(see_other_uri="https://other.example/http-bind"))
    play.send(2)
    play.server(stream_error("system-shutdown"))
    assert play.condition(2) == "see-other-uri"
    assert play.answers[2][-1].text == "https://other.example/http-bind"


def test_a_server_that_makes_no_sense() -> None:
    play = Play()
    play.send(2)
    play.server(b"<message></presence>")
    assert play.condition(2) == "undefined-condition"


def test_key_sequences() -> None:
    keys = [b"the first one".hex()]
    for _ in range(4):
        keys.append(hashlib.sha1(keys[-1].encode()).hexdigest())
    play = Play(f"{FIRST} newkey='{keys[4]}'")
    play.send(2, f"key='{keys[3]}'", message("a").decode())
    play.send(3, f"key='{keys[2]}' newkey='{keys[1]}'", message("b").decode())
    play.send(4, f"key='{keys[0]}'", message("c").decode())
    assert play.stream.endswith(message("a") + message("b") + message("c"))
    play.send(4, "key='wrong'", message("c").decode())
    assert play.condition(4) == "item-not-found"


def test_a_wrong_key() -> None:
    play = Play(f"{FIRST} newkey='{'0' * 40}'")
    play.send(2, "key='x'", message("a").decode())
    assert play.condition(2) == "item-not-found"
    assert message("a") not in play.stream


def test_an_acknowledged_answer_is_let_go() -> None:
    play = Play()
    play.send(2)
    play.server(message("one"))
    play.send(3, "ack='2'")
    play.send(2)
    assert play.condition(2) == "item-not-found"


def test_who_reads_nothing_stops_the_server_and_who_floods_is_not_asked_for_more() -> None:
    play = Play(limits=BoshLimits(outbox_bytes=1000))
    play.server(message("x" * 1000))
    assert not play.session.has_room
    play.send(2)
    assert play.session.has_room
    play.session.stalled = True
    play.send(3, inner=message("a").decode())
    play.send(4, inner=message("b").decode())
    assert play.answered == [1, 2]
    play.session.stalled = False
    play.session.settle(play.now)
    play.look()
    assert play.answered == [1, 2, 3]


def test_a_gap_that_is_never_filled() -> None:
    play = Play()
    play.at(1)
    play.send(3)
    play.at(61)
    assert play.condition(3) == "item-not-found"
