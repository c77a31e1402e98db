"""How many view a page: summed over all sites, told at once, and cheaply."""

from hypothesis import given, settings
from hypothesis import strategies as st

from megaphone.pages.limits import PageLimits
from tests.unit.pages.windows import PAGE, Window, World


def test_joining_and_leaving_is_told_to_all_holders() -> None:
    world = World(2)
    first = Window(world, 0).have()
    world.settle()
    assert first.count == 1
    second = Window(world, 1).have()
    world.wait(0.2)
    assert (first.count, second.count) == (2, 2)
    second.push(f"have:{PAGE}", "phx_leave", {})
    world.wait(0.2)
    assert first.count == 1


def test_who_holds_before_it_wants_no_more_is_told_the_right_number_at_once() -> None:
    world = World(2)
    Window(world, 0).have()
    world.settle()
    reader = Window(world, 1).want()
    world.settle()
    reader.have(reader.contents[0])
    reader.push(f"want:{PAGE}", "phx_leave", {})
    world.wait(2.0)
    assert reader.payloads("visitors_count") == [{"count": 2}]


def test_who_leaves_first_is_told_the_right_number_soon() -> None:
    world = World(2)
    Window(world, 0).have()
    world.settle()
    reader = Window(world, 1).want()
    world.settle()
    reader.push(f"want:{PAGE}", "phx_leave", {})
    reader.have(reader.contents[0])
    world.wait(0.2)
    assert reader.count == 2


def test_a_dead_site_is_counted_no_more() -> None:
    world = World(2)
    first = Window(world, 0).have()
    for _ in range(3):
        Window(world, 1).have()
    world.wait(0.2)
    assert first.count == 4
    world.kill(1)
    world.wait(0.2)
    assert first.count == 1


def test_a_site_that_was_replaced_is_counted_no_more() -> None:
    """An upgrade: sockets between workers move on, so that nobody hears of an end."""
    world = World(3)
    first = Window(world, 0).have()
    Window(world, 1).have()
    elsewhere = Window(world, 2).have()
    world.wait(0.2)
    assert (first.count, elsewhere.count) == (3, 3)
    world.vanish(1)
    world.start(f"{3:016x}", PageLimits(), worker=1)
    again = Window(world, 3).have()
    world.wait(3.0)
    assert (first.count, elsewhere.count, again.count) == (3, 3, 3)


def test_what_the_process_before_has_said_is_not_counted() -> None:
    world = World(2)
    Window(world, 1).have()
    world.start(f"{2:016x}", PageLimits(), worker=1)
    after = Window(world, 2).have()
    world.wait(3.0)
    assert after.count == 1


def test_a_thousand_viewers_do_not_cost_a_million_messages() -> None:
    world = World()
    windows = []
    for number in range(1000):
        windows.append(Window(world, address=number.to_bytes(16, "big")).have())
        world.wait(0.001)
    world.wait(2.0)
    assert all(window.count == 1000 for window in windows)
    told = sum(len(window.payloads("visitors_count")) for window in windows)
    assert told <= 6 * len(windows)


def test_words_that_were_lost_are_made_up_for() -> None:
    world = World(2)
    first, second = Window(world, 0).have(), Window(world, 1).have()
    world.waiting.clear()
    world.wait(1.5)
    assert (first.count, second.count) == (2, 2)


@settings(max_examples=60, deadline=None)
@given(st.lists(st.tuples(st.sampled_from(["have", "leave", "want", "wait", "kill"]), st.integers(0, 2)), max_size=40))
def test_every_holder_hears_how_many_there_are(events: list[tuple[str, int]]) -> None:
    world = World(3)
    holders: list[tuple[int, Window]] = []
    for event, number in events:
        if event == "kill" and number and f"{number:016x}" in world.sites:
            world.kill(number)
            holders = [(site, window) for site, window in holders if site != number]
        elif f"{number:016x}" not in world.sites:
            continue
        elif event == "have":
            holders.append((number, Window(world, number).have()))
        elif event == "want":
            Window(world, number).want()
        elif event == "leave" and holders:
            holders.pop(number % len(holders))[1].leave()
        else:
            world.wait(0.05)
    world.wait(1.5)
    assert [window.count for _, window in holders] == [len(holders)] * len(holders)
    assert sum(site.directory.holders for site in world.sites.values()) == len(holders)
