"""Figures and tables: medians, ratios round by round, targets, and that JSON keeps all of it."""

import json
from dataclasses import replace

import pytest

from tests.bench.report import figure, table, wording
from tests.bench.report.figure import OURS, Figure, Target
from tests.bench.report.report import written
from tests.bench.report.table import Circumstances, Table
from tests.bench.report.text import summary, text

TAKEN = Circumstances(
    "make bench WHAT=relay",
    "2026-11-26T09:00:00+00:00",
    [0.5, 0.4, 0.3],
    {"cpu": "a CPU", "cores": 2, "memory_gib": 23.5, "kernel": "6.18.0", "system": "Debian"},
    {"megaphone": "0.1.0, commit 1234567", "python": "3.11.2", "openssl": "3.0.19", "haproxy": "2.6.12-1+deb12u3"},
    {"rounds": 3},
)


def measured(*targets: Target, ours: tuple[float, ...] = (1.0, 4.0, 9.0), **other: tuple[float, ...]) -> Figure:
    """A figure with peers, each with its rounds."""
    figure = Figure("CPU", "us", *targets, peers=tuple(other))
    for party, values in {OURS: ours, **other}.items():
        for value in values:
            figure.add(party, value)
    return figure


def test_the_ratio_is_that_of_each_round() -> None:
    """Not of the medians: a slow moment of the machine meets both."""
    cpu = measured(haproxy=(2.0, 2.0, 10.0))
    assert cpu.value(OURS) == 4.0
    assert cpu.ratio() == 0.9  # of 0.5, 2.0 and 0.9; that of the medians would be 2


def test_there_is_no_ratio_to_nothing() -> None:
    assert measured().ratio() is None
    assert measured(haproxy=(1.0, 0.0, 1.0)).ratio() is None
    assert measured(haproxy=(0.0,) * 3).ratios == {}


def test_rounds_have_to_be_pairs() -> None:
    with pytest.raises(ValueError, match="zip"):
        measured(haproxy=(1.0, 2.0)).ratio()


@pytest.mark.parametrize(
    ("target", "met"),
    [
        (Target("value", 4.0), True),
        (Target("value", 3.9), False),
        (Target("value", 4.0, at_most=False), True),
        (Target("value", 4.1, at_most=False), False),
        (Target("ratio", 0.9), True),
        (Target("ratio", 0.8), False),
        (Target("ratio", 4.0, at_most=False, peer="nginx"), True),
        (Target("ratio", 4.1, at_most=False, peer="nginx"), False),
    ],
)
def test_targets(target: Target, met: bool) -> None:
    figure = measured(target, haproxy=(2.0, 2.0, 10.0), nginx=(1.0, 1.0, 1.0))
    assert figure.met(target) is met
    assert wording.verdict(target, figure) == ("met" if met else "missed")


def test_what_was_not_measured_is_neither_met_nor_missed() -> None:
    target = Target("ratio", 1.0)
    alone = Figure("CPU", "us", target)
    alone.add(OURS, 1.0)
    assert alone.met(target) is None
    assert Table("relay", "Relays", [OURS], [alone]).missed == []
    assert "not measured" in text(Table("relay", "Relays", [OURS], [alone]))


def test_a_target_names_a_peer() -> None:
    with pytest.raises(ValueError, match="apache"):
        Figure("CPU", "us", Target("ratio", 1.0, peer="apache"), peers=("haproxy",))


def test_json_keeps_everything() -> None:
    targets = Target("ratio", 1.2), Target("value", 5.0, at_most=False)
    detail = Figure("speed", "1/s", digits=0, detail=True, ours="link", peers=())
    detail.add("link", 123_456.789)
    table_ = Table("relay", "Relays", [OURS, "haproxy"], [measured(*targets, haproxy=(2.0, 2.0, 10.0)), detail])
    whole = replace(table_, circumstances=TAKEN)
    facts = json.loads(written(whole))
    assert facts["figures"][0]["ratios"] == {"haproxy": 0.9}
    assert [each["met"] for each in facts["figures"][0]["targets"]] == [True, False]
    again = table.from_json(facts)
    assert again.circumstances == TAKEN
    assert written(again) == written(whole)
    assert text(again) == text(whole)
    assert figure.from_json(facts["figures"][1]).detail


def test_the_summary_has_every_row_but_details() -> None:
    detail = Figure("details", "1/s", detail=True)
    detail.add(OURS, 1.0)
    lines = summary([Table("relay", "Relays", [], [measured(Target("ratio", 0.5), haproxy=(2.0,) * 3), detail])])
    (row,) = lines.splitlines()[1:]
    assert row.split() == ["relay", "CPU", "4.00", "µs", "HAProxy", "2.00", "µs", "(2.00)", *row.split()[8:]]
    assert row.endswith("MISSED")


@pytest.mark.parametrize(
    ("value", "digits", "shown"),
    [
        (0.0, 3, "0"),
        (0.123, 2, "0.12"),
        (999.4, 0, "999"),
        (111_234.0, 0, "111,000"),
        (22_512_345.0, 0, "22,500,000"),
        (1234.5, 2, "1,230"),
    ],
)
def test_numbers_say_no_more_than_can_be_repeated(value: float, digits: int, shown: str) -> None:
    assert wording.number(value, digits) == shown


def test_zero_as_a_target_is_none() -> None:
    target = Target("value", 0)
    assert wording.target(target, Figure("mallocs", "1", target, peers=())) == "none"
