"""Subjects over the mesh: what is only true of it (all else is in test_conformance)."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from megaphone.bus.ports import Answer, Limits, Message, NobodyThere
from megaphone.bus.subjects import SubjectFrame, Subjects
from megaphone.embedded.frames import FrameKind
from megaphone.errors import SubjectError
from tests.unit.bus.networks import SubjectsMesh

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path


@pytest.fixture
def network(tmp_path: Path) -> Iterator[SubjectsMesh]:
    opened = SubjectsMesh(tmp_path, Limits(), limit_bytes=10_000)
    yield opened
    opened.close()
    assert not opened.faults


def test_a_message_crosses_to_a_worker_once_and_only_where_somebody_subscribes(network: SubjectsMesh) -> None:
    first, second, _ = (network.start(index) for index in range(3))
    heard: list[Message] = []
    for _ in range(3):
        second.subscribe("news", heard.append)
    network.settle()
    before = network.mesh.workers[0].bus.frames_out
    assert first.publish("news", b"1")
    assert network.mesh.workers[0].bus.frames_out == before + 1
    network.until(lambda: len(heard) == 3)


def test_the_death_of_all_who_were_asked_is_told_before_the_time_is_over(network: SubjectsMesh) -> None:
    first, second = network.start(0), network.start(1)
    heard: list[Message] = []
    answers: list[Answer] = []
    second.subscribe("think", heard.append)
    network.settle()
    assert first.request("think", b"?", 1000.0, answers.append)
    network.until(lambda: bool(heard))
    network.kill(1)
    network.until(lambda: answers == [NobodyThere(asked=True)])


def test_a_subscription_that_ends_while_a_request_is_on_its_way_is_nobody(network: SubjectsMesh) -> None:
    first, second = network.start(0), network.start(1)
    answers: list[Answer] = []
    subscription = second.subscribe("think", lambda message: message.payload)
    network.settle()
    assert first.request("think", b"?", 1000.0, answers.append)
    subscription.end()
    network.until(lambda: answers == [NobodyThere(asked=False)])


def test_a_peer_that_takes_nothing_is_refused_what_it_does_not_get(network: SubjectsMesh) -> None:
    first, second = network.start(0), network.start(1)
    heard: list[Message] = []
    second.subscribe("news", heard.append)
    network.settle()
    taken = 0
    while first.publish("news", bytes(100_000)):
        taken += 1
        assert taken < 100
    assert not first.request("news", bytes(100_000), 1000.0, lambda _: None)
    network.until(lambda: len(heard) == taken)
    assert first.publish("news", b"again")


def test_subjects_for_which_there_was_no_room_are_told_later(network: SubjectsMesh) -> None:
    first = network.start(0)
    heard: list[Message] = []
    subjects = [f"{number}.{'x' * 240}" for number in range(300)]  # more than may ever wait for one peer
    subscriptions = [first.subscribe(subject, heard.append) for subject in subjects]
    subscriptions[0].end()
    assert network.mesh.workers[0].bus.refused > 0
    second = network.start(1)
    network.settle()
    for subject in (subjects[0], subjects[1], subjects[-1]):
        assert second.publish(subject, b"")
    network.until(lambda: len(heard) >= 2)
    assert [message.subject for message in heard] == [subjects[1], subjects[-1]]


def test_a_peer_that_begins_anew_subscribes_to_nothing_else(network: SubjectsMesh) -> None:
    """Its predecessor may have spoken to us without ever hearing us; the mesh does not call that a loss."""
    first, second = network.start(0), network.start(1)
    for subject in ("a", "b"):
        second.subscribe(subject, lambda message: message.payload)
    network.settle()
    network.mesh.workers[1].bus.send_frame(0, SubjectFrame.SUBJECTS, b"b")
    answers: list[Answer] = []

    def asked_again() -> Answer | None:
        answer = answers.pop() if answers else None
        first.request("a", b"?", 1000.0, answers.append)
        return answer

    network.until(lambda: asked_again() == NobodyThere(asked=False))
    answers.clear()
    assert first.request("b", b"!", 1000.0, answers.append)
    network.until(lambda: b"!" in answers)


def test_the_only_worker_needs_no_mesh() -> None:
    work: list[Callable[[], None]] = []
    faults: list[Exception] = []
    answers: list[Answer] = []
    subjects = Subjects(None, later=work.append, fault=faults.append)
    subjects.subscribe("double", lambda message: message.payload * 2)
    assert subjects.request("double", b"1", 1.0, answers.append)
    assert subjects.request("void", b"1", 1.0, answers.append)
    while work:
        work.pop(0)()
    assert len(answers) == 2
    assert b"11" in answers
    assert NobodyThere(asked=False) in answers
    assert faults == []


def test_an_answer_too_large_is_a_fault_of_who_gave_it(network: SubjectsMesh) -> None:
    bus = network.start(0)
    answers: list[Answer] = []
    bus.subscribe("much", lambda _: bytes(bus.limits.payload_bytes + 1))
    assert bus.request("much", b"", 1000.0, answers.append)
    network.until(lambda: bool(network.faults))
    assert isinstance(network.faults.pop(), SubjectError)
    assert answers == []


@pytest.mark.parametrize("kind", [SubjectFrame.PUBLISH, SubjectFrame.REQUEST, 23])
@pytest.mark.parametrize("payload", [b"", b"\x05abc", b"12345678", b"12345678\x05abc"])
def test_a_frame_cut_short_is_refused(kind: int, payload: bytes) -> None:
    subjects = Subjects(None, later=lambda _: None, fault=lambda _: None)
    with pytest.raises(SubjectError):
        subjects.take_frame(1, kind, payload)


def test_the_frames_are_nobody_elses() -> None:
    assert min(SubjectFrame) > max(FrameKind) + 7  # RELAY has 8 of them


def test_limits_that_no_frame_holds_are_refused() -> None:
    for limits in (Limits(payload_bytes=5_000_000), Limits(subscriptions=100_000)):
        with pytest.raises(ValueError, match="frame"):
            Subjects(None, later=lambda _: None, fault=lambda _: None, limits=limits)
