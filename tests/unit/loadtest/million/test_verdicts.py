"""Whether the figures of issue 6 are met: at the limit, and just beyond it."""

import pytest

from loadtest.million import verdicts
from loadtest.million.verdicts import Verdict
from loadtest.swarm import Histogram


def silences(p99: float) -> Verdict:
    """Of a hundred clients one may have waited longer."""
    return verdicts.silence(Histogram.of([0.001] * 98 + [p99, 2.0]), Histogram.of([0.001]))


@pytest.mark.parametrize(
    ("good", "bad"),
    [
        (verdicts.sessions(1_000_000, 1_000_000), verdicts.sessions(999_999, 1_000_000)),
        (verdicts.lost(0), verdicts.lost(1)),
        (verdicts.logins(3_000.0), verdicts.logins(2_999.9)),
        (verdicts.latency(0.249, 1), verdicts.latency(0.25, 1)),
        (verdicts.memory(10_000_000_000), verdicts.memory(10_000_000_001)),
        (verdicts.session_memory(4_000), verdicts.session_memory(4_001)),
        (verdicts.messages(0, 0, 1), verdicts.messages(1, 0, 5)),
        (verdicts.messages(0, 0, 1), verdicts.messages(0, 1, 5)),
        (verdicts.rate(4_950.0, 5_000), verdicts.rate(4_949.0, 5_000)),
        (verdicts.undisturbed(50, 50), verdicts.undisturbed(51, 50)),
        (verdicts.upgrade(0, 7.0, ""), verdicts.upgrade(1, 7.0, "it stopped")),
        (verdicts.upgrade(0, 7.0, ""), verdicts.upgrade(None, 300.0, "")),
        (verdicts.connections_lost(0, 12), verdicts.connections_lost(1, 0)),
        (verdicts.moved(20, 20), verdicts.moved(19, 20)),
        (verdicts.exact(0, 0, 0, 5), verdicts.exact(1, 0, 0, 5)),
        (verdicts.exact(0, 0, 0, 5), verdicts.exact(0, 1, 0, 5)),
        (verdicts.exact(0, 0, 0, 5), verdicts.exact(0, 0, 1, 5)),
        (silences(0.248), silences(0.251)),
        (verdicts.back(60.0), verdicts.back(60.1)),
        (verdicts.worst_login(30.0), verdicts.worst_login(30.1)),
        (verdicts.soak_growth(100.0, 101.9), verdicts.soak_growth(100.0, 102.1)),
        (verdicts.soak_growth(100.0, 90.0), verdicts.soak_growth(100.0, 110.0)),
    ],
)
def test_at_the_limit(good: Verdict, bad: Verdict) -> None:
    assert good.met, good
    assert not bad.met, bad
    assert verdicts.all_met([good])
    assert not verdicts.all_met([good, bad])
    assert bad.line().startswith("MISSED")
    assert good.as_json()["wanted"] == good.wanted


@pytest.mark.parametrize(
    "nothing",
    [
        verdicts.latency(0.0, 0),
        verdicts.messages(0, 0, 0),
        verdicts.exact(0, 0, 0, 0),
        verdicts.silence(Histogram(), Histogram.of([0.1])),
        verdicts.memory(0),
        verdicts.session_memory(0),
        verdicts.undisturbed(0, 0),
        verdicts.back(None),
        verdicts.worst_login(0.0),
        verdicts.soak_growth(0.0, 0.0),
    ],
)
def test_what_was_not_measured_is_not_met(nothing: Verdict) -> None:
    assert not nothing.met
