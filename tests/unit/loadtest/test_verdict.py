"""Each criterion of a profile can be met and can be missed, and nothing that was not measured passes."""

from dataclasses import replace

import msgspec
import pytest

from loadtest.profiles import Criteria, Profile, load
from loadtest.profiles.schema import Activity, Disturbance
from loadtest.verdict import Measured, judge, passed, remark, table

PROFILE = Profile(
    summary="all of it",
    activity=Activity(chat_seconds=10),
    disturbance=Disturbance(),
    criteria=Criteria(
        live_percent=99,
        lost_percent=1,
        back_seconds=5,
        disturbed_percent=10,
        login_p99_ms=100,
        message_p99_ms=100,
        ping_p99_ms=100,
        room_p99_ms=100,
        undelivered_percent=0,
        rate_percent=95,
        refused_percent=100,
        failures_percent={"session": 20, "session:ECONNRESET": 5, "*": 0},
    ),
)
GOOD = Measured(
    wanted=1000,
    ramp_seconds=59.0,
    live_at_end=990,
    lost=10,
    disturbed=100,
    back_seconds=5.0,
    p99_ms={"login": 100, "message": 100, "ping": 100, "room": 100},
    hold_seconds=60.0,
    sent=5700,
    undelivered=0,
    due=5700,
    refused=50,
    hostile=50,
    failures={"session:closed": 200, "session:ECONNRESET": 50},
)


def test_what_is_just_enough_passes() -> None:
    assert passed(judge(PROFILE, GOOD)), table(judge(PROFILE, GOOD))


@pytest.mark.parametrize(
    ("change", "criterion"),
    [
        ({"ramp_seconds": 60.1}, "99 % of the sessions live within"),
        ({"ramp_seconds": None}, "99 % of the sessions live within"),
        ({"live_at_end": 989}, "sessions live at the end"),
        ({"lost": 11}, "sessions lost during the hold"),
        ({"disturbed": 99}, "sessions lost by the disturbance"),
        ({"disturbance_failed": "ended with 1"}, "the disturbance took place"),
        ({"back_seconds": 5.1}, "99 % live again within"),
        ({"back_seconds": None}, "99 % live again within"),
        ({"p99_ms": GOOD.p99_ms | {"login": 110}}, "99 % of login times"),
        ({"p99_ms": GOOD.p99_ms | {"message": 110}}, "99 % of message times"),
        ({"p99_ms": GOOD.p99_ms | {"ping": 110}}, "99 % of ping times"),
        ({"p99_ms": {"login": 1, "message": 1, "ping": 1}}, "99 % of room times"),
        ({"undelivered": 1}, "messages not delivered"),
        ({"due": 0}, "messages not delivered"),
        ({"sent": 5699}, "messages sent of those planned"),
        ({"refused": 49}, "hostile input refused"),
        ({"refused": 0, "hostile": 0}, "hostile input refused"),
        ({"failures": {"session:closed": 201}}, "failures of session"),
        ({"failures": {"session:ECONNRESET": 51}}, "failures of session:ECONNRESET"),
        ({"failures": {"bind:conflict": 1}}, "failures of bind:conflict"),
        ({"problems": ["no descriptors left"]}, "no descriptors left"),
    ],
)
def test_what_is_just_too_little_does_not(change: dict[str, object], criterion: str) -> None:
    lines = judge(PROFILE, replace(GOOD, **change))
    assert [each.criterion for each in lines if not each.passed] == [criterion], table(lines)


def test_every_criterion_is_among_these() -> None:
    asked = {field.name for field in msgspec.structs.fields(Criteria)}
    unasked = judge(Profile(summary="nothing"), GOOD)
    assert len(unasked) == 2
    assert len(judge(PROFILE, GOOD)) == len(asked - {"back_percent", "failures_percent"}) + 1 + 1 + 3


def test_a_test_that_measured_nothing_passes_nowhere() -> None:
    for name in ("idle", "chat", "hostile", "reconnect"):
        lines = judge(load(name), Measured())
        assert not passed(lines)
        assert not any(each.passed for each in lines if each.criterion != "the disturbance took place"), table(lines)


def test_the_table_has_a_line_for_each_criterion() -> None:
    lines = judge(load("idle"), replace(GOOD, live_at_end=999))
    rows = table(lines).splitlines()
    assert rows[0].split() == ["criterion", "wanted", "measured", "verdict"]
    assert len(rows) == len(lines) + 2
    assert any(row.endswith("99.9 % (999 of 1000)  MISSED") for row in rows)


def test_a_late_generator_is_told() -> None:
    assert remark({"lateness": 100}) == ""
    assert "110 ms" in remark({"lateness": 110})
