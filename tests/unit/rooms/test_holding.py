"""What waits for other nodes is bounded, and stays in order."""

import pytest

from megaphone.errors import RoomError
from megaphone.rooms import holding
from megaphone.rooms.addressed import Addressed
from megaphone.rooms.holding import HOLD_SECONDS, Holding
from tests.unit.rooms.town import DOMAIN, ROOM

OTHER = ROOM._replace(local="other")


def stanza(room: str, number: int) -> Addressed:
    return Addressed.read(f"<message from='a@x/c' to='{room}@{DOMAIN}' id='{number}'/>".encode())  # type: ignore[return-value]


def test_order_and_time() -> None:
    held = Holding()
    held.begin(ROOM, stanza("verona", 0), 10.0)
    for number in (1, 2):
        held.hold(stanza("verona", number))
    assert ROOM in held
    assert held.overdue(10.0 + HOLD_SECONDS - 0.1) == []
    assert held.overdue(10.0 + HOLD_SECONDS) == [ROOM]
    ended = held.end(ROOM)
    assert ended is not None
    assert [each.id for each in ended.stanzas] == ["0", "1", "2"]
    assert held.end(ROOM) is None
    assert held.rooms() == []


def test_limits(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(holding, "ROOM_LIMIT", 2)
    monkeypatch.setattr(holding, "LIMIT", 3)
    held = Holding()
    held.begin(ROOM, stanza("verona", 0), 0.0)
    held.hold(stanza("verona", 1))
    with pytest.raises(RoomError) as refused:
        held.hold(stanza("verona", 2))
    assert refused.value.condition == "resource-constraint"
    held.begin(OTHER, stanza("other", 0), 0.0)
    with pytest.raises(RoomError):
        held.hold(stanza("other", 1))
    held.end(ROOM)
    held.hold(stanza("other", 1))
