"""One worker's histories on a real database, without the rest of the worker."""

from collections.abc import Callable

from megaphone.bus.homes import home_of
from megaphone.embedded.histories import Histories
from megaphone.embedded.promises import Promises
from megaphone.embedded.retention import LOOK_SECONDS, RetentionSettings
from megaphone.history.entry import Kind
from megaphone.storage.database import database_path
from megaphone.storage.history_audit import audit
from megaphone.storage.history_reading import Reader
from megaphone.storage.node_key import verify
from megaphone.storage.storage import Storage
from megaphone.stream.archive import Archived, Said, Wanted
from megaphone.stream.jid import JID
from tests.unit.storage.conftest import ROMEO

HALL = JID("hall", "rooms.example")
NOW = 1_764_000_000.0
DAY = 86_400.0


class Worker:
    """One worker's histories, without the rest of it."""

    def __init__(
        self, directory: str, settings: RetentionSettings | None = None, *, index: int = 0, workers: int = 1
    ) -> None:
        self.storage = Storage(directory, worker=index, gather_seconds=0.0)
        self.time = NOW
        self.began: dict[JID, float] = {HALL: 1.0, ROMEO: 1.0}
        self.looked = 0.0
        self.histories = Histories(
            self.storage,
            directory,
            is_home=lambda owner: home_of(str(owner), workers) == index,
            now=lambda: self.time,
            began=lambda kind, owner: self.began.get(owner, float("inf") if kind == "user" else 0.0),
            settings=settings or RetentionSettings(),
        )
        self.later: list[Callable[[], None]] = []
        self.histories.later = self.later.append
        self.timers: list[Callable[[], None]] = []
        self.histories.wait = lambda seconds, work: self.timers.append(work)
        self.promises = Promises(self.histories.writes, None)
        self.histories.hold = self.promises.hold
        self.rooms, self.users = self.histories.rooms, self.histories.users

    def say(self, body: str, owner: JID = HALL, time: float | None = None) -> Archived:
        archive = self.rooms if owner.domain == HALL.domain else self.users
        entry = archive.append(owner, said(body, self.time if time is None else time))
        while self.later:
            self.later.pop(0)()
        return entry

    def bodies(self, owner: JID = HALL) -> list[str]:
        archive = self.rooms if owner.domain == HALL.domain else self.users
        return [body(each) for each in archive.page(owner, Wanted(max=10_000)).entries]

    def look(self) -> None:
        """Let retention look at all logs."""
        self.histories.flush()
        self.storage.writer.settle_all()
        self.looked += 2 * LOOK_SECONDS
        self.histories.sweep(self.looked)

    def close(self) -> None:
        self.histories.close()
        assert self.storage.close() == 0
        assert self.storage.writer.dropped == 0


def said(text: str, time: float, nick: str = "romeo") -> Said:
    stanza = f"<message from='{HALL}/{nick}' type='groupchat' id='m-{text}'><body>{text}</body></message>"
    return Said(time, Kind.MESSAGE, "romeo@x", "romeo@x", nick, stanza.encode(), f"m-{text}")


def body(entry: Archived) -> str:
    return entry.said.stanza.partition(b"<body>")[2].partition(b"</body>")[0].decode()


def assert_whole(directory: str) -> int:
    """What `megaphone history verify` says; returns how many entries there are."""
    reader = Reader(database_path(directory))
    found = audit(reader, verify)
    reader.close()
    assert found.damages == []
    return found.entries
