"""Who hears of rows that other nodes have changed: the home of each user and room, whatever becomes of another one."""

from __future__ import annotations

from typing import TYPE_CHECKING

from megaphone.bus.homes import home_of
from megaphone.bus.subjects import Subjects
from megaphone.embedded.changed_rows import ChangedRows
from megaphone.embedded.router import Router
from megaphone.storage.replicated import Applied

if TYPE_CHECKING:
    from collections.abc import Callable

    from megaphone.stream.jid import JID

WORKERS = 3
NAMES = {f"name{number}" for number in range(20)}


class Worker:
    """One worker of three, that hears of what is changed."""

    def __init__(self, index: int = 0) -> None:
        self.faults: list[Exception] = []
        self.users: list[tuple[str, float]] = []
        self.rooms: list[tuple[JID, float]] = []
        self.secrets: list[str] = []
        self.later: list[Callable[[], None]] = []
        self.subjects = Subjects(None, later=self.later.append, fault=self.faults.append)
        router = Router(
            domain="example.org",
            rooms_domain="rooms.example.org",
            index=index,
            workers=WORKERS,
            now=lambda: 7.0,
            fault=self.faults.append,
        )
        self.rows = ChangedRows(self.subjects, router)
        self.rows.refresh_user = self._user
        self.rows.refresh_room = lambda room, now: self.rooms.append((room, now))
        self.rows.refresh_secret = self.secrets.append

    def _user(self, local: str, now: float) -> None:
        if local == "broken":
            raise RuntimeError(local)
        self.users.append((local, now))

    def run(self) -> None:
        while self.later:
            self.later.pop(0)()


def test_homes_hear_of_their_users_and_rooms_and_all_of_secrets() -> None:
    worker = Worker(1)
    worker.rows.tell(Applied(users=set(NAMES), rooms=set(NAMES), secrets={"logins"}))
    worker.run()
    at_home = {name for name in NAMES if home_of(f"{name}@example.org", WORKERS) == 1}
    assert at_home < NAMES
    assert {local for local, _ in worker.users} == at_home
    assert {now for _, now in worker.users} == {7.0}
    assert {room.local for room, _ in worker.rooms} == {
        name for name in NAMES if home_of(f"{name}@rooms.example.org", WORKERS) == 1
    }
    assert {room.domain for room, _ in worker.rooms} == {"rooms.example.org"}
    assert worker.secrets == ["logins"]
    assert worker.faults == []


def test_one_that_fails_costs_no_other() -> None:
    worker = Worker(home_of("broken@example.org", WORKERS))
    worker.rows.tell(Applied(users={"broken"}))
    mine = next(name for name in sorted(NAMES) if home_of(f"{name}@example.org", WORKERS) == worker.rows._router.index)
    worker.rows.tell(Applied(users={mine}))
    worker.run()
    assert [str(fault) for fault in worker.faults] == ["broken"]
    assert worker.users == [(mine, 7.0)]
