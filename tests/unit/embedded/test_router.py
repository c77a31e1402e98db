"""Routers of three workers: every stanza comes to its home, once and in order, also when homes die."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from megaphone.bus.homes import home_of
from megaphone.errors import StorageFullError
from megaphone.rooms.ports import Audience
from megaphone.stream.jid import JID
from tests.unit.embedded.mesh import DOMAIN, EVERYBODY, ROOMS, Home, Town, room_at, user_at


@pytest.fixture
def town(tmp_path: Path) -> Iterator[Town]:
    made = Town(tmp_path)
    yield made
    made.close()
    assert made.faults == []


def message(from_: JID, to: JID, text: str = "hi", *, type_: str = "chat") -> bytes:
    return f"<message from='{from_}' to='{to}' type='{type_}' id='{text}'><body>{text}</body></message>".encode()


def say(home: Home, data: bytes, to: JID, *, keep: bool = False) -> None:
    """As a session of this worker does."""
    home.router.keeping = keep
    home.router.route(data, to)
    home.router.keeping = False
    home.router.drain()


@pytest.mark.parametrize("full", [False, True])
def test_to_users_and_rooms_of_all_homes(town: Town, full: bool) -> None:
    sender = user_at(0).at("phone")
    for home in range(3):
        for what, bare in (("user", user_at(home)), ("room", room_at(home))):
            to = bare.at("there") if full else bare
            say(town.homes[0], message(sender, to), to)
            town.until(lambda home=home: bool(town.homes[home].heard))  # type: ignore[misc]
            assert town.homes[home].heard == [(what, str(to), message(sender, to))]
            town.homes[home].heard.clear()


def test_the_rooms_domain_has_a_home_and_the_users_domain_is_everywhere(town: Town) -> None:
    to = JID("", ROOMS)
    home = home_of(ROOMS, 3)
    say(town.homes[(home + 1) % 3], message(user_at(0), to), to)
    town.until(lambda: bool(town.homes[home].heard))
    assert town.homes[home].heard[0][:2] == ("room", ROOMS)
    for index in range(3):
        assert town.homes[index].router.home(JID("", DOMAIN)) == index
    assert town.homes[0].router.home_of_user(str(user_at(2).at("x")).encode()) == 2
    for other in (b"@", b"\xff", b"somebody@elsewhere", str(room_at(2)).encode(), DOMAIN.encode()):
        assert town.homes[0].router.home_of_user(other) == 0


LOCAL, RESOURCE = r"([a-zA-Z0-9._\-é&]{0,4}@)?", r"(/[ -~é]{0,4})?"
ADDRESSES = st.from_regex(rf"{LOCAL}({DOMAIN}|{ROOMS}|x|{DOMAIN}x)?{RESOURCE}", fullmatch=True)


def test_homes_are_the_same_without_a_closer_look(town: Town) -> None:
    home, found = town.homes[0], set()

    @given(ADDRESSES)
    @example(str(user_at(0)))
    @example(str(user_at(1).at("balcony")))
    @example(str(user_at(2).at("balcony at night")))
    @example(str(user_at(2).at("balcony")))
    def holds(address: str) -> None:
        to = address.encode()
        plain = home.streams.home_of_plain(to)
        assert plain in (-1, home.router.home_of_user(to))
        found.add(plain)

    holds()
    assert found == {-1, 0, 1, 2}


def test_the_core_is_never_called_within_itself(town: Town) -> None:
    home, depth = town.homes[0], 0
    to = user_at(0)

    def answer(stanza: Any) -> None:
        nonlocal depth
        depth += 1
        assert depth == 1
        if len(home.heard) < 5:
            home.router.route(message(to, to, str(len(home.heard))), to)
            home.router.drain()  # what somebody does who has not thought of it
        depth -= 1

    home.core.on_stanza = answer
    say(home, message(to, to, "0"), to)
    assert [heard[2] for heard in home.heard] == [message(to, to, str(number)) for number in range(5)]


@pytest.mark.parametrize(
    ("error", "condition"), [(StorageFullError("f", "full"), b"resource-constraint"), (KeyError(), b"internal-server")]
)
def test_whoever_asks_in_vain_is_told(town: Town, error: Exception, condition: bytes) -> None:
    sender, to = user_at(0).at("phone"), user_at(1)
    town.homes[1].core.error = error
    for type_ in ("chat", "error"):
        say(town.homes[0], message(sender, to, type_=type_), to)
    town.rest()
    town.until(lambda: bool(town.homes[0].heard))
    ((what, who, answer),) = town.homes[0].heard  # an error is not answered
    assert (what, who) == ("user", str(sender))
    assert b"type='error'" in answer
    assert condition in answer
    assert town.faults == ([] if isinstance(error, StorageFullError) else [error, error])
    town.faults.clear()


def test_rooms_are_told_in_order_with_everything_else(town: Town) -> None:
    """What a room says to one occupant and to all crosses on one way."""
    home, room = town.homes[0], room_at(0)
    one, other, here = user_at(1).at("a"), user_at(2).at("b"), user_at(0).at("c")
    router = home.router
    for occupant in (one, other, here):
        router.route_many([b"<presence from='x'/>"], occupant)
        router.occupant_added(room, occupant, moderator=occupant is one)
        router.fan_out(room, b"<message from='%b'/>" % str(room).encode(), except_=(one, here))
        router.occupant_changed(room, occupant, moderator=occupant is not one)
        router.fan_out(room, b"<message/>", audience=Audience.MODERATORS)
    router.occupant_removed(room, one)
    router.fan_out(room, b"<message id='1'/>")
    router.occupant_removed(room, other)
    router.fan_out(room, b"<message id='2'/>")
    router.drain()
    town.rest()
    first = ("said", room, b"<message from='%b'/>" % str(room).encode(), str(room), "all")
    moderators = ("said", room, b"<message/>", str(room), "moderators", frozenset())
    last = ("said", room, b"<message id='1'/>", str(room), "all", frozenset())
    for index, occupant, later in ((1, one, 2), (2, other, 1)):
        heard = town.homes[index].heard
        said_first = (*first, frozenset({one}))  # who is at home here is not named to others
        assert heard[:5] == [
            ("user", str(occupant), f"<presence to='{occupant}' from='x'/>".encode()),
            ("added", room, occupant, occupant is one),
            said_first,
            ("changed", room, occupant, occupant is not one),
            moderators,
        ]
        assert heard[5 : 5 + 2 * later] == [said_first, moderators] * later
        assert heard[5 + 2 * later :] == ([("removed", room, one)] if index == 1 else [last, ("removed", room, other)])
    assert [each[0] for each in home.heard].count("said") == 8
    assert home.heard[-1] == ("said", room, b"<message id='2'/>", str(room), "all", frozenset())
    assert home.bus.frames_out == 1 * 4 + sum(len(town.homes[index].heard) for index in (1, 2)) - 4


def test_the_room_list_is_kept_at_its_home(town: Town) -> None:
    home = home_of(ROOMS, 3)
    for index in range(3):
        town.homes[index].router.listed(room_at(index), "a name", index)
        town.homes[index].router.drain()
    town.homes[(home + 1) % 3].router.unlisted(room_at(1))
    town.until(lambda: len(town.homes[home].heard) == 4)
    assert sorted(each[0] for each in town.homes[home].heard) == ["listed"] * 3 + ["unlisted"]
    assert all(not town.homes[index].heard for index in range(3) if index != home)


# --- promises over workers ---


def test_a_promise_waits_until_the_home_has_written(town: Town) -> None:
    here, there, kept = town.homes[0], town.homes[1], list[int]()
    to = user_at(1)
    say(here, message(user_at(0), to, "1"), to, keep=True)
    here.promises.when_safe(lambda: kept.append(1))
    town.rest()
    for _ in range(20):
        town.step()
    assert kept == []
    there.commit()
    town.until(lambda: kept == [1])


def test_a_confirmation_is_for_the_process_that_asked(town: Town) -> None:
    """A commit that takes long must not confirm to the successor of whoever asked what it has not said yet."""
    there, to = town.homes[1], user_at(1)
    for number in range(5):
        say(town.homes[0], message(user_at(0), to, f"old {number}"), to, keep=True)
    town.until(lambda: len(there.heard) == 5)
    town.kill(0)
    town.until(lambda: ("relay lost", 0) in there.heard)
    here, kept = town.start(0), list[int]()
    town.until(lambda: here.bus.is_up(1))
    there.commit()  # of the old ones
    for _ in range(20):
        town.step()
    here.router.keeping = True
    there.writes.position += 1  # somebody else's, not written
    say(here, message(user_at(0), to, "new"), to, keep=True)
    here.promises.when_safe(lambda: kept.append(1))
    town.until(lambda: there.heard[-1] == ("user", str(to), message(user_at(0), to, "new")))
    for _ in range(20):
        town.step()
    assert kept == []
    there.commit()
    town.until(lambda: kept == [1])


def test_what_a_dead_home_did_not_confirm_goes_to_its_successor(town: Town) -> None:
    here, to, kept = town.homes[0], user_at(1), list[int]()
    say(here, message(user_at(0), to, "kept"), to, keep=True)
    say(here, message(user_at(0), to, "not kept"), to)
    here.promises.when_safe(lambda: kept.append(1))
    town.until(lambda: len(town.homes[1].heard) == 2)
    town.kill(1)
    town.until(lambda: ("relay lost", 1) in here.heard)
    say(here, message(user_at(0), to, "meanwhile"), to)
    successor = town.start(1)
    town.until(lambda: len(successor.heard) == 2)
    assert [each[2] for each in successor.heard] == [message(user_at(0), to, text) for text in ("kept", "meanwhile")]
    assert kept == []
    successor.commit()
    town.until(lambda: kept == [1])


# --- homes that die ---


def test_a_lost_home_takes_its_users_and_rooms_along(town: Town) -> None:
    here, elsewhere = town.homes[0], room_at(0)
    gone, mine = user_at(1).at("x"), user_at(0).at("y")
    here.router.occupant_added(elsewhere, gone, moderator=False)
    here.router.occupant_added(elsewhere, mine, moderator=False)
    there = town.homes[1].router
    there.occupant_added(room_at(1), mine, moderator=False)
    town.rest()
    town.kill(1)
    town.until(lambda: ("relay lost", 1) in here.heard)
    lost = next(each[1] for each in here.heard if each[0] == "lost")
    assert lost == frozenset(jid for jid in EVERYBODY if home_of(str(jid), 3) == 1)
    assert ("forgotten", room_at(1)) in here.heard
    assert here.heard[-1] == ("relay lost", 1)
    assert (("list anew",) in here.heard) == (home_of(ROOMS, 3) == 1)
    # nothing is said for those who are gone any more
    before = here.bus.frames_out
    here.router.fan_out(elsewhere, b"<message/>")
    here.router.drain()
    town.start(1)
    town.until(lambda: here.bus.is_up(1))
    assert here.bus.frames_out == before


def test_all_that_a_dead_home_has_said_comes_before_its_loss(town: Town) -> None:
    """Else a room that died with it would seem to have occupants."""
    here, there = town.homes[0], town.homes[1]
    for number in range(2000):
        there.router.occupant_added(room_at(1), user_at(0).at(str(number)), moderator=False)
    there.poller.turn()
    town.kill(1)
    town.until(lambda: ("relay lost", 1) in here.heard)
    kinds = [each[0] for each in here.heard]
    assert kinds.count("added") == 2000
    assert kinds.index("lost") > max(at for at, kind in enumerate(kinds) if kind == "added")
    assert here.router.occupants.rooms() == []


def test_too_much_for_a_slow_home_is_refused(tmp_path: Path) -> None:
    town = Town(tmp_path, workers=2, limit_bytes=100_000)
    here, sender, to = town.homes[0], user_at(0, 2).at("me"), user_at(1, 2)
    for number in range(3000):
        say(here, message(sender, to, f"{number} {'x' * 100}"), to)
    refused = [each for each in here.heard if b"resource-constraint" in each[2]]
    assert refused
    assert all(each[1] == str(sender) for each in refused)
    town.until(lambda: len(town.homes[1].heard) + len(refused) == 3000)
    assert len(here.heard) == len(refused)
    # what happened in rooms is not refused: it has to be known
    for number in range(1200):
        here.router.occupant_added(room_at(0, 2), to.at(str(number)), moderator=False)
    town.until(lambda: sum(each[0] == "added" for each in town.homes[1].heard) == 1200)
    town.close()


def test_a_home_that_takes_nothing_at_all_is_cut_off(tmp_path: Path) -> None:
    town = Town(tmp_path, workers=2, limit_bytes=100_000)
    here, room, to = town.homes[0], room_at(0, 2), user_at(1, 2).at("x")
    here.router.occupant_added(room, to, moderator=False)
    said = 0
    while ("relay lost", 1) not in here.heard:
        here.router.fan_out(room, b"<message>%b</message>" % (b"x" * 1000))
        here.router.drain()
        said += 1
        assert said < 20_000
        here.poller.turn()
    town.until(lambda: ("relay lost", 0) in town.homes[1].heard)
    town.until(lambda: here.bus.is_up(1) and town.homes[1].bus.is_up(0))
    town.close()


STEPS = st.lists(st.tuples(st.integers(0, 2), st.integers(0, 2), st.booleans()), max_size=60)


@settings(max_examples=20, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(STEPS)
def test_first_in_first_out(tmp_path_factory: pytest.TempPathFactory, steps: list[tuple[int, int, bool]]) -> None:
    """Between any two homes everything arrives once and in the order in which it was said, kept or not."""
    town = Town(tmp_path_factory.mktemp("town"))
    for number, (source, target, keep) in enumerate(steps):
        say(town.homes[source], message(user_at(source), user_at(target), str(number)), user_at(target), keep=keep)
        if number % 7 == 0:
            town.step()
    town.until(lambda: sum(len(home.heard) for home in town.homes.values()) == len(steps))
    for source in range(3):
        for target in range(3):
            sent = [str(number) for number, step in enumerate(steps) if step[:2] == (source, target)]
            mine = f"from='{user_at(source)}'".encode()
            heard = [
                each[2].partition(b"<body>")[2].partition(b"<")[0].decode()
                for each in town.homes[target].heard
                if mine in each[2]
            ]
            assert heard == sent
    town.close()
    assert town.faults == []
