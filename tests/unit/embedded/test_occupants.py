"""Occupants of one worker: who gets what a room says, after any sequence of what the room has told."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass
from typing import cast

from hypothesis import given
from hypothesis import strategies as st

from megaphone.embedded.occupants import Occupants
from megaphone.service.session import Session
from megaphone.stream.jid import JID

ROOM, OTHER = JID("verona", "rooms.example"), JID("mantua", "rooms.example")
PEOPLE = [JID(name, "example", "one") for name in ("romeo", "juliet", "nurse", "tybalt")]


@dataclass(eq=False)
class Person:
    """What stands for a session."""

    jid: JID


class Sent:
    """Notes to whom something is sent, and that nobody has come or gone before it was."""

    def __init__(self) -> None:
        self.to: list[JID] = []
        self.waiting: tuple[Collection[object], list[JID]] | None = None
        self.people = {jid: Person(jid) for jid in PEOPLE}

    def session_of(self, jid: JID) -> Session | None:
        return cast("Session | None", self.people.get(jid))

    def fan_out(self, sessions: list[Session] | dict[JID, Session], stanza: bytes, from_: str) -> int:
        assert (stanza, from_) == (b"<message/>", "verona@rooms.example/romeo")
        self.settle()
        self.to = self._people(sessions)
        self.waiting = sessions, self.to
        return len(self.to)

    def settle(self) -> None:
        if self.waiting is not None:
            sessions, to = self.waiting
            assert self._people(sessions) == to
            self.waiting = None

    @staticmethod
    def _people(sessions: Collection[object]) -> list[JID]:
        found = sessions.values() if isinstance(sessions, dict) else sessions
        return [cast(Person, session).jid for session in found]


def heard(occupants: Occupants, sent: Sent, audience: str, except_: Collection[JID] = (), room: JID = ROOM) -> set[JID]:
    sent.to = []
    count = occupants.fan_out(room, b"<message/>", "verona@rooms.example/romeo", audience, except_)
    assert count == len(sent.to) == len(set(sent.to))
    return set(sent.to)


STEPS = st.lists(
    st.tuples(st.sampled_from(["add", "change", "remove", "forget"]), st.sampled_from(PEOPLE), st.booleans())
)


@given(STEPS, st.sets(st.sampled_from(PEOPLE)))
def test_after_anything_that_a_room_tells(steps: list[tuple[str, JID, bool]], except_: set[JID]) -> None:
    sent = Sent()
    occupants = Occupants(sent, sent.session_of)
    inside: dict[JID, bool] = {}
    for step, jid, moderator in steps:
        if step == "add":
            occupants.add(ROOM, jid, moderator=moderator)
            inside[jid] = moderator
        elif step == "change":
            occupants.change(ROOM, jid, moderator=moderator)
            if jid in inside:
                inside[jid] = moderator
        elif step == "remove":
            occupants.remove(ROOM, jid)
            inside.pop(jid, None)
        elif moderator:
            occupants.forget(ROOM)
            inside.clear()
    assert occupants.rooms() == ([ROOM] if inside else [])
    assert heard(occupants, sent, "all") == set(inside)
    assert heard(occupants, sent, "all", except_) == set(inside) - except_
    assert heard(occupants, sent, "moderators", except_) == {jid for jid in inside if inside[jid]} - except_
    assert heard(occupants, sent, "others", except_) == {jid for jid in inside if not inside[jid]} - except_
    assert heard(occupants, sent, "all", room=OTHER) == set()
    for jid in PEOPLE:
        occupants.remove(ROOM, jid)
    assert occupants.rooms() == []


def test_one_whose_session_has_ended_is_passed_over() -> None:
    sent = Sent()
    occupants = Occupants(sent, sent.session_of)
    occupants.add(ROOM, JID("ghost", "example", "one"), moderator=True)
    assert occupants.rooms() == []
    assert heard(occupants, sent, "moderators") == set()
