"""Every profile that comes with the load test can be read, and a mistake in one is explained."""

from pathlib import Path

import pytest

from loadtest import profiles
from loadtest.profiles import ProfileError, load, names
from loadtest.profiles.load import DIRECTORY, keys
from loadtest.users.flock import settings_of

SCENARIOS = {
    *("idle", "chat", "rooms-large", "rooms-small", "presence-churn", "login-storm", "reconnect", "slow-readers"),
    *("half-open", "hostile", "rolling-restart", "soak", "single"),
}


def test_every_scenario_is_there() -> None:
    assert set(names()) == SCENARIOS


@pytest.mark.parametrize("name", sorted(SCENARIOS))
def test_a_profile_can_be_read_says_what_it_is_for_and_asks_for_something(name: str) -> None:
    profile = load(name)
    assert profile.summary
    assert profile.criteria.failures_percent.get("*") == 0
    assert settings_of(profile).presence
    assert (DIRECTORY / f"{name}.toml").read_text().startswith("# ")
    fastest = profile.sessions.logins_per_second or 1e9
    assert profile.sessions.per_user / fastest < profile.timing.ramp_seconds, "the ramp is longer than it may take"


def test_rates_are_those_of_all_sessions_of_a_user() -> None:
    settings = settings_of(load("chat", "per_user=500 chat_seconds=10 ping_seconds=0 space_seconds=30"))
    assert (settings.chat_per_second, settings.keep_alive, settings.keep_alive_seconds) == (50, "space", 30)
    assert settings_of(load("rooms-small", "per_user=60 room_seconds=30")).room_per_second == 2


def write(directory: Path, text: str) -> str:
    path = directory / "mine.toml"
    path.write_text(text)
    return str(path)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("summary = 1", "summary: expected `str`, got `int`"),
        ("", "object missing required field `summary`"),
        ("summary = 'x'\n[sesions]", "there is no key sesions; did you mean sessions?"),
        ("summary = 'x'\n[sessions]\nper_usr = 1", "there is no key sessions.per_usr; did you mean sessions.per_user?"),
        ("summary = 'x'\nchat_seconds = 1", "there is no key chat_seconds; did you mean activity.chat_seconds?"),
        ("summary = 'x'\n[sessions]\nper_user = 0", "sessions.per_user: expected `int` >= 1"),
        ("summary = 'x'\n[odd]\nslow_percent = 101", "odd.slow_percent: expected `float` <= 100.0"),
        ("summary = 'x'\n[activity]\nping_seconds = 1\nspace_seconds = 1", "exclude each other"),
        ("summary = 'x'\n[activity]\nroom_occupants = 1001", "a User has 1000 sessions"),
        ("summary = 'x'\n[criteria]\nback_seconds = 1", "asks for a [disturbance]"),
        ("summary = ", "not valid TOML"),
        ("[" * 100_000, "larger than 65536 bytes"),
        ("x = " + "[" * 50_000, "not valid TOML"),
    ],
)
def test_a_mistake_is_named(tmp_path: Path, text: str, message: str) -> None:
    with pytest.raises(ProfileError) as raised:
        load(write(tmp_path, text))
    assert message.casefold() in str(raised.value).casefold()
    assert "\n" not in str(raised.value)


def test_an_unknown_name_is_answered_with_the_nearest() -> None:
    with pytest.raises(ProfileError, match=r"no profile 'chta'; did you mean chat\?: chat, half-open"):
        load("chta")
    with pytest.raises(ProfileError, match="cannot be read: No such file"):
        load("./chat.toml")


def test_keys_can_be_set_from_outside() -> None:
    profile = load("idle", "sessions.per_user=7 live_percent=50.5  reconnect=true")
    assert (profile.sessions.per_user, profile.criteria.live_percent, profile.sessions.reconnect) == (7, 50.5, True)


@pytest.mark.parametrize(
    ("overrides", "message"),
    [
        ("per_usr=1", "did you mean sessions.per_user?"),
        ("per_user", "expected key=value"),
        ("per_user=many", "'many' is not a value of TOML"),
        ("per_user=-1", "sessions.per_user: expected `int` >= 1"),
    ],
)
def test_a_mistake_in_these_is_named_too(overrides: str, message: str) -> None:
    with pytest.raises(ProfileError) as raised:
        load("idle", overrides)
    assert message in str(raised.value)


def test_a_key_alone_always_means_one_key() -> None:
    short = [each.partition(".")[2] for each in keys()]
    assert len(set(short)) == len(short) > 30


def test_what_is_sent_to_workers_is_the_profile() -> None:
    tables = profiles.tables("reconnect", "per_user=3")
    assert profiles.build(tables, "reconnect") == load("reconnect", "per_user=3")
