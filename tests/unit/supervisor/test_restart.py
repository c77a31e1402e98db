"""The restart policy as a table, and as properties over any history of crashes."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from megaphone.supervisor.restart import GiveUp, Policy, Restart, RestartAfter, decide

POLICY = Policy(intensity=5, period_seconds=60.0, backoff_first_seconds=0.0625, backoff_max_seconds=0.375)


def crashes(*times: float, worker: int = 0) -> tuple[Restart, ...]:
    return tuple(Restart(at, worker) for at in times)


@pytest.mark.parametrize(
    ("history", "worker", "now", "jitter", "expected"),
    [
        # the first crash costs nothing more
        ((), 0, 100.0, 0.0, RestartAfter(0.0)),
        ((), 0, 100.0, 1.0, RestartAfter(0.0)),
        # then the pause doubles ...
        (crashes(99.0), 0, 100.0, 0.0, RestartAfter(0.0625)),
        (crashes(98.0, 99.0), 0, 100.0, 0.0, RestartAfter(0.125)),
        (crashes(97.0, 98.0, 99.0), 0, 100.0, 0.0, RestartAfter(0.25)),
        # ... up to the maximum
        (crashes(96.0, 97.0, 98.0, 99.0), 0, 100.0, 0.0, RestartAfter(0.375)),
        # jitter takes up to half away
        (crashes(99.0), 0, 100.0, 0.5, RestartAfter(0.046875)),
        (crashes(99.0), 0, 100.0, 1.0, RestartAfter(0.03125)),
        # another worker's crashes do not delay this one, but they count
        (crashes(98.0, 99.0, worker=1), 0, 100.0, 0.0, RestartAfter(0.0)),
        (crashes(96.0, 97.0, 98.0, 99.0, worker=1) + crashes(99.5), 0, 100.0, 0.0, GiveUp(5, 60.0)),
        # at most `intensity` restarts in the period
        (crashes(95.0, 96.0, 97.0, 98.0, 99.0), 0, 100.0, 0.0, GiveUp(5, 60.0)),
        # what is a period old is forgotten: exactly 60 s is, 59.9 s is not
        (crashes(40.0, 96.0, 97.0, 98.0, 99.0), 0, 100.0, 0.0, RestartAfter(0.375)),
        (crashes(40.1, 96.0, 97.0, 98.0, 99.0), 0, 100.0, 0.0, GiveUp(5, 60.0)),
        (crashes(1.0, 2.0, 3.0, 4.0, 5.0), 0, 100.0, 0.0, RestartAfter(0.0)),
    ],
)
def test_decision(
    history: tuple[Restart, ...], worker: int, now: float, jitter: float, expected: RestartAfter | GiveUp
) -> None:
    decision, _ = decide(POLICY, history, worker=worker, now_seconds=now, jitter=jitter)
    assert decision == expected


def test_the_history_forgets_what_is_older_than_the_period_and_remembers_what_was_granted() -> None:
    _, history = decide(POLICY, crashes(10.0, 99.0), worker=3, now_seconds=100.0, jitter=0.0)
    assert history == (Restart(99.0, 0), Restart(100.0, 3))


def test_a_refused_restart_is_not_remembered() -> None:
    full = crashes(95.0, 96.0, 97.0, 98.0, 99.0)
    decision, history = decide(POLICY, full, worker=0, now_seconds=100.0, jitter=0.0)
    assert isinstance(decision, GiveUp)
    assert history == full


@pytest.mark.parametrize("jitter", [-0.1, 1.1, float("nan")])
def test_jitter_outside_of_its_range_is_an_error(jitter: float) -> None:
    with pytest.raises(ValueError, match="between 0 and 1"):
        decide(POLICY, (), worker=0, now_seconds=0.0, jitter=jitter)


policies = st.builds(
    Policy,
    intensity=st.integers(1, 50),
    period_seconds=st.floats(0.1, 1000),
    backoff_first_seconds=st.floats(0.001, 10),
    backoff_max_seconds=st.floats(0.001, 100),
)
crash_sequences = st.lists(
    st.tuples(st.floats(0, 50), st.integers(0, 7), st.floats(0, 1)),  # pause before it, worker, jitter
    max_size=200,
)


@given(policies, crash_sequences)
def test_never_more_than_the_intensity_in_any_period_and_never_a_longer_pause_than_the_maximum(
    policy: Policy, sequence: list[tuple[float, int, float]]
) -> None:
    now = 0.0
    history: tuple[Restart, ...] = ()
    granted: list[float] = []
    for pause, worker, jitter in sequence:
        now += pause
        decision, history = decide(policy, history, worker=worker, now_seconds=now, jitter=jitter)
        in_period = [at for at in granted if now - at < policy.period_seconds]
        if isinstance(decision, GiveUp):
            assert len(in_period) == policy.intensity
        else:
            assert len(in_period) < policy.intensity
            assert 0.0 <= decision.delay_seconds <= policy.backoff_max_seconds
            granted.append(now)
        assert len(history) <= policy.intensity


@given(policies.filter(lambda policy: policy.intensity > 1), st.floats(0, 1))
def test_pauses_of_one_worker_grow_when_jitter_is_equal(policy: Policy, jitter: float) -> None:
    history: tuple[Restart, ...] = ()
    pauses = []
    for _ in range(policy.intensity):
        decision, history = decide(policy, history, worker=0, now_seconds=0.0, jitter=jitter)
        assert isinstance(decision, RestartAfter)
        pauses.append(decision.delay_seconds)
    assert pauses == sorted(pauses)
    assert pauses[0] == 0.0
