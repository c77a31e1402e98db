"""Locks that grow with the failures, in a table that does not."""

from hypothesis import given
from hypothesis import strategies as st

from megaphone.service.failed_logins import FailedLogins, LockPolicy

POLICY = LockPolicy(free_failures=2, first_lock_seconds=1.0, longest_lock_seconds=5.0, forget_seconds=100.0, entries=3)


def lock_of(failed: FailedLogins, key: str, now: float) -> float:
    """Return for how long a key is locked, in tenths of a second."""
    return next(tenths for tenths in range(1000) if not failed.locked(key, now + tenths / 10)) / 10


def test_locks_double_up_to_a_limit() -> None:
    failed = FailedLogins(POLICY)
    locks = []
    for number in range(7):
        failed.failed("a", float(number * 10))
        locks.append(lock_of(failed, "a", float(number * 10)))
    assert locks == [0, 0, 1, 2, 4, 5, 5]
    assert not failed.locked("b", 0.0)


def test_success_and_time_forget() -> None:
    failed = FailedLogins(POLICY)
    for _ in range(5):
        failed.failed("a", 0.0)
    failed.succeeded("a")
    failed.succeeded("never seen")
    failed.failed("a", 0.0)
    assert not failed.locked("a", 0.0)
    for _ in range(5):
        failed.failed("a", 0.0)
    failed.failed("a", 100.0)
    assert not failed.locked("a", 100.0)


def test_very_many_failures() -> None:
    failed = FailedLogins(POLICY)
    for _ in range(5000):
        failed.failed("a", 0.0)
    assert lock_of(failed, "a", 0.0) == 5.0


@given(st.lists(st.sampled_from("abcdefgh")))
def test_table_is_bounded_and_keeps_the_latest(keys: list[str]) -> None:
    failed = FailedLogins(POLICY)
    for key in keys:
        failed.failed(key, 0.0)
    latest = list(dict.fromkeys(reversed(keys)))[:3]
    assert len(failed) == len(latest)
    for key in latest:
        failed.succeeded(key)
    assert len(failed) == 0
