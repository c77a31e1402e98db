"""Sessions are counted over flocks, ended flocks and workers."""

import pytest

from loadtest import census
from loadtest.census import Census


def test_a_flock_that_ended_has_no_sessions_but_did_what_it_did() -> None:
    found = Census()
    found.count("a", {"open": 5, "logins": 7, "odd_open": 1, "odd_logins": 2})
    found.count("a", {"open": 6, "logins": 8, "odd_open": 1, "odd_logins": 2})
    found.count("b", {"open": 1, "logins": 1})
    assert found.totals() == {"open": 7, "logins": 9, "odd_open": 1, "odd_logins": 2}
    found.end("a")
    found.end("a")
    assert found.totals() == {"open": 1, "logins": 9, "odd_logins": 2}


def test_a_master_sums_its_workers_and_drops_the_sessions_of_a_silent_one(monkeypatch: pytest.MonkeyPatch) -> None:
    now = 100.0
    monkeypatch.setattr(census.time, "monotonic", lambda: now)
    master = Census()
    for name in ("first", "second"):
        worker = Census()
        worker.count("a", {"open": 5, "logins": 7})
        worker.problem("no descriptors left")
        data: dict[str, object] = {}
        worker.report(name, data)
        master.receive(name, data)
    assert master.totals() == {"open": 10, "logins": 14}
    assert master.problems == ["no descriptors left"]
    now = 105.0
    master.receive("second", data)
    now = 111.0
    assert master.totals() == {"open": 5, "logins": 14}
    master.receive("other", {"stats": []})
    master.clear()
    assert (master.totals(), master.problems) == ({}, [])


def test_problems_are_bounded() -> None:
    found = Census()
    for number in range(300):
        found.problem(str(number % 150))
    assert len(found.problems) == 100
