"""What every carrier of subjects keeps (bus.ports.Bus): said once, run on each of networks.CARRIERS."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from megaphone.bus.ports import Answer, Limits, Message, NoAnswer, NobodyThere
from megaphone.errors import SubjectError
from tests.unit.bus.networks import CARRIERS, open_network

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from megaphone.bus.ports import Bus
    from tests.unit.bus.networks import Network

LIMITS = Limits(payload_bytes=10_000, subscriptions=8, requests=5, own_bytes=100_000)
LONG_SECONDS = 1000.0


@pytest.fixture(params=sorted(CARRIERS))
def network(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Network]:
    opened = open_network(request.param, tmp_path, LIMITS)
    yield opened
    opened.close()
    assert not opened.faults


class Ear:
    """A subscriber that writes down what it hears, and answers with `answer`."""

    def __init__(self, answer: bytes | None = None) -> None:
        self.heard: list[bytes] = []
        self.messages: list[Message] = []
        self.answer = answer

    def __call__(self, message: Message) -> bytes | None:
        self.heard.append(message.payload)
        self.messages.append(message)
        return self.answer


# --- publish ------------------------------------------------------------


def test_every_subscriber_of_every_worker_hears_all_in_order(network: Network) -> None:
    buses = [network.start(index) for index in range(3)]
    ears = [Ear() for _ in range(4)]
    for bus, ear in zip([*buses, buses[1]], ears, strict=True):
        bus.subscribe("news", ear)
    network.settle()
    for number in range(100):
        for index, bus in enumerate(buses):
            assert bus.publish("news", b"%d %d" % (index, number))
    network.until(lambda: all(len(ear.heard) >= 300 for ear in ears))
    network.settle()
    for ear in ears:
        assert len(ear.heard) == 300
        for index in range(3):
            from_one = [text for text in ear.heard if text.startswith(b"%d " % index)]
            assert from_one == [b"%d %d" % (index, number) for number in range(100)]
        assert {(message.subject, message.reply) for message in ear.messages} == {("news", None)}


def test_only_the_same_subject_is_heard(network: Network) -> None:
    first, second = network.start(0), network.start(1)
    ears = {subject: Ear() for subject in ("a", "a.b", "a.b.c", "A.b")}
    for subject, ear in ears.items():
        second.subscribe(subject, ear)
    network.settle()
    for subject in ears:
        assert first.publish(subject, subject.encode())
    network.until(lambda: all(ear.heard for ear in ears.values()))
    network.settle()
    assert {subject: ear.heard for subject, ear in ears.items()} == {each: [each.encode()] for each in ears}


def test_nothing_is_called_back_from_within_a_call(network: Network) -> None:
    bus = network.start(0)
    ear, answers = Ear(b"yes"), list[Answer]()
    bus.subscribe("here", ear)
    assert bus.publish("here", b"1")
    assert bus.request("here", b"2", LONG_SECONDS, answers.append)
    assert bus.request("elsewhere", b"3", LONG_SECONDS, answers.append)
    assert (ear.heard, answers) == ([], [])
    network.until(lambda: len(answers) == 2)
    assert ear.heard == [b"1", b"2"]


def test_what_a_subscriber_publishes_comes_after_what_it_heard(network: Network) -> None:
    bus = network.start(0)
    ear = Ear()

    def echo(message: Message) -> None:
        if len(message.payload) < 5:
            bus.publish("echo", message.payload + b"!")

    bus.subscribe("echo", echo)
    bus.subscribe("echo", ear)
    bus.publish("echo", b"a")
    bus.publish("echo", b"b")
    network.until(lambda: len(ear.heard) == 10)
    assert ear.heard == [letter + b"!" * count for count in range(5) for letter in (b"a", b"b")]


def test_who_has_ended_hears_no_more(network: Network) -> None:
    first, second = network.start(0), network.start(1)
    ended, also_here, stays = Ear(), Ear(), Ear()
    subscription = second.subscribe("news", ended)
    own = first.subscribe("news", also_here)
    second.subscribe("news", stays)
    network.settle()
    first.publish("news", b"1")
    network.until(lambda: bool(ended.heard and also_here.heard and stays.heard))
    first.publish("news", b"on its way")
    for each in (subscription, own, subscription):
        each.end()
    network.settle()
    first.publish("news", b"2")
    network.until(lambda: len(stays.heard) == 3)
    assert (ended.heard, also_here.heard) == ([b"1"], [b"1"])


def test_nobody_minds_what_nobody_hears(network: Network) -> None:
    bus = network.start(0)
    assert bus.publish("nothing", b"x")


def test_a_subscriber_that_fails_costs_the_others_nothing(network: Network) -> None:
    first, second = network.start(0), network.start(1)
    ear = Ear()

    def fail(_: Message) -> bytes:
        raise RuntimeError("on purpose")

    second.subscribe("news", fail)
    second.subscribe("news", ear)
    network.settle()
    first.publish("news", b"1")
    first.publish("news", b"2")
    network.until(lambda: ear.heard == [b"1", b"2"])
    assert [str(fault) for fault in network.faults] == ["on purpose"] * 2
    network.faults.clear()


# --- request ------------------------------------------------------------


@pytest.mark.parametrize("answering", [0, 1])
def test_a_request_is_answered(network: Network, answering: int) -> None:
    buses = [network.start(index) for index in range(2)]
    buses[answering].subscribe("double", lambda message: message.payload * 2)
    network.settle()
    answers = dict[bytes, Answer]()

    def note(payload: bytes) -> Callable[[Answer], None]:
        return lambda answer: answers.update({payload: answer})

    for payload in (b"", b"1", b"ab"):
        assert buses[0].request("double", payload, LONG_SECONDS, note(payload))
    network.until(lambda: len(answers) == 3)
    assert answers == {b"": b"", b"1": b"11", b"ab": b"abab"}


def test_an_answer_may_come_later_and_counts_once(network: Network) -> None:
    first, second = network.start(0), network.start(1)
    ear, answers = Ear(), list[Answer]()
    second.subscribe("think", ear)
    network.settle()
    first.request("think", b"?", LONG_SECONDS, answers.append)
    network.until(lambda: bool(ear.messages))
    network.settle()
    assert answers == []
    reply = ear.messages[0].reply
    assert reply is not None
    assert reply(b"42")
    assert not reply(b"43")
    network.until(lambda: bool(answers))
    network.settle()
    assert answers == [b"42"]


def test_everybody_is_asked_and_the_first_answer_counts(network: Network) -> None:
    buses = [network.start(index) for index in range(3)]
    ears = [Ear(b"%d" % index) for index in range(3)]
    for bus, ear in zip(buses, ears, strict=True):
        bus.subscribe("who", ear)
    network.settle()
    answers = list[Answer]()
    assert buses[0].request("who", b"?", LONG_SECONDS, answers.append)
    network.until(lambda: all(ear.heard for ear in ears))
    network.settle()
    assert len(answers) == 1
    assert answers[0] in (b"0", b"1", b"2")


def test_nobody_is_there(network: Network) -> None:
    first, second = network.start(0), network.start(1)
    answers = list[Answer]()
    assert first.request("void", b"?", LONG_SECONDS, answers.append)
    network.until(lambda: answers == [NobodyThere(asked=False)])
    for bus in (first, second):
        bus.subscribe("void", Ear(b"yes")).end()
    network.settle()
    assert first.request("void", b"?", LONG_SECONDS, answers.append)
    network.until(lambda: answers == [NobodyThere(asked=False)] * 2)


def test_time_is_over(network: Network) -> None:
    first, second = network.start(0), network.start(1)
    ear, answers = Ear(), list[Answer]()
    second.subscribe("silence", ear)
    network.settle()
    assert first.request("silence", b"?", 5.0, answers.append)
    network.until(lambda: bool(ear.heard))
    network.pass_time(4.9)
    assert answers == []
    network.pass_time(0.2)
    assert answers == [NoAnswer()]
    reply = ear.messages[0].reply
    assert reply is not None
    reply(b"too late")
    network.settle()
    assert answers == [NoAnswer()]


# --- workers that die ------------------------------------------------------------


def test_who_is_asked_dies(network: Network) -> None:
    first, second = network.start(0), network.start(1)
    ear, answers = Ear(), list[Answer]()
    second.subscribe("think", ear)
    network.settle()
    first.request("think", b"?", 5.0, answers.append)
    network.until(lambda: bool(ear.heard))
    network.kill(1)
    network.pass_time(5.1)
    network.until(lambda: bool(answers))
    assert answers[0] in (NobodyThere(asked=True), NoAnswer())
    network.until(lambda: _asked_again(first, "think", answers) == NobodyThere(asked=False))


def _asked_again(bus: Bus, subject: str, answers: list[Answer]) -> Answer | None:
    """Ask again, as soon as there is an answer to the last time; return that."""
    if not answers:
        return None
    answer = answers.pop()
    bus.request(subject, b"?", LONG_SECONDS, answers.append)
    return answer


def test_one_of_those_asked_dies(network: Network) -> None:
    first, second, third = (network.start(index) for index in range(3))
    mortal, slow, answers = Ear(), Ear(), list[Answer]()
    second.subscribe("think", mortal)
    third.subscribe("think", slow)
    network.settle()
    first.request("think", b"?", LONG_SECONDS, answers.append)
    network.until(lambda: bool(mortal.heard and slow.heard))
    network.kill(1)
    network.settle()
    reply = slow.messages[0].reply
    assert reply is not None
    assert reply(b"42")
    network.until(lambda: answers == [b"42"])


@pytest.mark.parametrize("at_once", [True, False])
def test_a_successor_learns_who_subscribes_and_inherits_nothing(network: Network, at_once: bool) -> None:
    first, second = network.start(0), network.start(1)
    ear, old, new = Ear(), Ear(), Ear()
    first.subscribe("news", ear)
    second.subscribe("old", old)
    network.settle()
    network.kill(1)
    if not at_once:
        network.settle()
    first.subscribe("late", ear)
    successor = network.start(1)
    successor.subscribe("new", new)
    network.settle()
    assert successor.publish("news", b"1")
    assert successor.publish("late", b"2")
    assert first.publish("old", b"3")
    assert first.publish("new", b"4")
    network.until(lambda: ear.heard == [b"1", b"2"] and new.heard == [b"4"])
    answers = list[Answer]()
    first.request("old", b"?", LONG_SECONDS, answers.append)
    network.until(lambda: answers == [NobodyThere(asked=False)])
    assert old.heard == []


def test_a_successor_gets_no_answer_to_what_it_has_not_asked(network: Network) -> None:
    first, second = network.start(0), network.start(1)
    ear, answers, others = Ear(), list[Answer](), list[Answer]()
    first.subscribe("think", ear)
    network.settle()
    second.request("think", b"before", LONG_SECONDS, others.append)
    network.until(lambda: ear.heard == [b"before"])
    network.kill(1)
    successor = network.start(1)
    network.settle()
    successor.request("think", b"after", LONG_SECONDS, answers.append)
    network.until(lambda: ear.heard == [b"before", b"after"])
    for message in ear.messages:
        assert message.reply is not None
        message.reply(message.payload)
    network.until(lambda: bool(answers))
    network.settle()
    assert (answers, others) == ([b"after"], [])


# --- limits ------------------------------------------------------------


def test_too_large_is_refused(network: Network) -> None:
    first, second = network.start(0), network.start(1)
    ear, answers = Ear(), list[Answer]()
    second.subscribe("news", ear)
    network.settle()
    just, over = bytes(first.limits.payload_bytes), bytes(first.limits.payload_bytes + 1)
    assert not first.publish("news", over)
    assert not first.request("news", over, LONG_SECONDS, answers.append)
    assert first.publish("news", just)
    assert first.request("news", just, LONG_SECONDS, answers.append)
    network.until(lambda: ear.heard == [just, just])
    reply = ear.messages[1].reply
    assert reply is not None
    assert not reply(over)
    assert reply(just)
    network.until(lambda: answers == [just])


def test_too_many_subscriptions_are_refused_until_some_end(network: Network) -> None:
    bus = network.start(0)
    made = []
    for _ in range(bus.limits.subscriptions - 1):  # the network's own is one
        made.append(bus.subscribe("news", Ear()))
    with pytest.raises(SubjectError, match="subscriptions"):
        bus.subscribe("other", Ear())
    made[0].end()
    ear = Ear()
    bus.subscribe("other", ear)
    bus.publish("other", b"1")
    network.until(lambda: ear.heard == [b"1"])


def test_too_many_requests_are_refused_until_some_are_answered(network: Network) -> None:
    first, second = network.start(0), network.start(1)
    ear, answers = Ear(), list[Answer]()
    second.subscribe("think", ear)
    network.settle()
    for _ in range(first.limits.requests):
        assert first.request("think", b"?", LONG_SECONDS, answers.append)
    assert not first.request("think", b"?", LONG_SECONDS, answers.append)
    assert not first.request("void", b"?", LONG_SECONDS, answers.append)
    network.until(lambda: len(ear.heard) == first.limits.requests)
    reply = ear.messages[0].reply
    assert reply is not None
    reply(b"!")
    network.until(lambda: answers == [b"!"])
    assert first.request("think", b"?", LONG_SECONDS, answers.append)


def test_too_much_for_our_own_subscribers_is_refused(network: Network) -> None:
    bus = network.start(0)
    ear = Ear()
    bus.subscribe("news", ear)
    taken = 0
    while bus.publish("news", bytes(1000)):
        taken += 1
        assert taken * 1000 <= bus.limits.own_bytes
    assert taken > 10
    network.until(lambda: len(ear.heard) == taken)
    assert bus.publish("news", b"again")
    network.until(lambda: ear.heard[-1] == b"again")


@pytest.mark.parametrize("subject", ["", ".", "a.", ".a", "a..b", "a b", "a.*", ">", "a\n", "a\0", "ä" * 128])
def test_what_no_subject_is(network: Network, subject: str) -> None:
    bus = network.start(0)
    with pytest.raises(SubjectError):
        bus.publish(subject, b"")
    with pytest.raises(SubjectError):
        bus.subscribe(subject, Ear())
    with pytest.raises(SubjectError):
        bus.request(subject, b"", LONG_SECONDS, lambda _: None)
