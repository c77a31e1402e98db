"""Sessions that a client may come back to."""

import pytest
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, rule

from megaphone.stream.jid import JID
from megaphone.stream.resumable import Ended, ResumableSessions

JULIET, ROMEO = JID("juliet", "example.org"), JID("romeo", "example.org")


def test_found_by_their_owner_alone() -> None:
    sessions: ResumableSessions[str] = ResumableSessions(60)
    sessions.add("a", JULIET, "session")
    for _ in range(2):
        assert sessions.find("a", JULIET) == "session"
        assert sessions.find("a", ROMEO) == Ended(None)
        assert sessions.find("b", JULIET) == Ended(None)
        if not sessions.detached_count:
            sessions.detach("a", 0.0)
    sessions.end("a", 12)
    assert sessions.find("a", JULIET) == Ended(12)
    assert sessions.find("a", ROMEO) == Ended(None)


def test_time() -> None:
    sessions: ResumableSessions[str] = ResumableSessions(60)
    for number, id_ in enumerate("abc"):
        sessions.add(id_, JULIET, id_)
        sessions.detach(id_, float(number))
    assert sessions.next_end == 60.0
    assert sessions.expired(59.9) == []
    assert sessions.expired(61.0) == ["a", "b"]
    sessions.attach("a")
    assert sessions.expired(61.0) == ["b"]
    sessions.end("b", 0)
    assert sessions.next_end == 62.0
    sessions.end("c", 0)
    assert sessions.next_end is None
    assert len(sessions) == 1


def test_the_same_id_twice() -> None:
    sessions: ResumableSessions[str] = ResumableSessions(60)
    sessions.add("a", JULIET, "x")
    with pytest.raises(ValueError, match="same resumption id"):
        sessions.add("a", JULIET, "y")


def test_only_so_many_ended_ones_are_remembered() -> None:
    sessions: ResumableSessions[int] = ResumableSessions(60, remembered=3)
    for number in range(5):
        sessions.add(str(number), JULIET, number)
        sessions.end(str(number), number)
    found = [sessions.find(str(number), JULIET) for number in range(5)]
    assert found == [Ended(None), Ended(None), Ended(2), Ended(3), Ended(4)]


class Lives(RuleBasedStateMachine):
    """Random lives of sessions against a model: a dictionary of deadlines."""

    def __init__(self) -> None:
        super().__init__()
        self.sessions: ResumableSessions[str] = ResumableSessions(10)
        self.model: dict[str, float | None] = {}
        self.now = 0.0

    @rule(id_=st.sampled_from("abcdef"))
    def add(self, id_: str) -> None:
        if id_ not in self.model:
            self.sessions.add(id_, JULIET, id_)
            self.model[id_] = None

    @rule(id_=st.sampled_from("abcdef"))
    def detach(self, id_: str) -> None:
        if id_ in self.model and self.model[id_] is None:
            self.sessions.detach(id_, self.now)
            self.model[id_] = self.now + 10

    @rule(id_=st.sampled_from("abcdef"))
    def attach(self, id_: str) -> None:
        if id_ in self.model:
            self.sessions.attach(id_)
            self.model[id_] = None

    @rule(seconds=st.integers(0, 8))
    def wait(self, seconds: int) -> None:
        self.now += seconds
        due = [(ends, id_) for id_, ends in self.model.items() if ends is not None and ends <= self.now]
        expired = self.sessions.expired(self.now)
        assert sorted(expired) == sorted(id_ for _, id_ in due)
        for id_ in expired:
            self.sessions.end(id_, 1)
            del self.model[id_]
        assert len(self.sessions) == len(self.model)
        assert self.sessions.next_end == min((ends for ends in self.model.values() if ends is not None), default=None)
        assert {id_ for id_ in "abcdef" if self.sessions.find(id_, JULIET) == id_} == set(self.model)


TestLives = Lives.TestCase
