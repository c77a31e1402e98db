"""Who is asked for a page, and what happens when it does not answer."""

from collections import Counter

from megaphone.pages.limits import PageLimits
from tests.unit.pages.windows import PAGE, TEXT, Window, World


def asked(windows: list[Window]) -> list[Window]:
    return [window for window in windows if window.payloads("content_request")]


def test_the_content_comes_from_the_holder() -> None:
    world = World()
    holder = Window(world).have()
    reader = Window(world).want()
    world.settle()
    assert reader.contents == [TEXT]
    assert holder.payloads("content_request") == [{}]


def test_exactly_one_of_many_holders_is_asked_and_each_as_often_as_any_other() -> None:
    rounds: Counter[int] = Counter()
    for seed in range(400):
        world = World(2, seed=seed)
        holders = [Window(world, site).have() for site in (0, 0, 0, 1)]
        world.settle()
        reader = Window(world, 1).want()
        world.settle()
        assert reader.contents == [TEXT]
        assert len(asked(holders)) == 1
        rounds[holders.index(asked(holders)[0])] += 1
    # a quarter each: 100 of 400, with a standard deviation below 9
    assert all(60 < rounds[holder] < 140 for holder in range(4)), rounds


def test_a_second_holder_is_asked_after_300_ms_and_no_third() -> None:
    world = World()
    holders = [Window(world, honest=False).have() for _ in range(5)]
    reader = Window(world).want()
    world.wait(0.299)
    assert len(asked(holders)) == 1
    world.wait(0.002)
    assert len(asked(holders)) == 2
    world.wait(1.5)
    assert len(asked(holders)) == 2
    reader.push(f"want:{PAGE}", "content_request", {"hash": PAGE})
    assert len(asked(holders)) == 3


def test_one_that_stalls_costs_300_ms() -> None:
    for seed in range(20):
        world = World(seed=seed)
        Window(world, honest=False).have()
        Window(world).have()
        reader = Window(world).want()
        world.wait(0.31)
        assert reader.contents == [TEXT]


def test_one_that_leaves_instead_of_answering_costs_nothing() -> None:
    world = World()
    first = Window(world, honest=False).have()
    reader = Window(world).want()
    second = Window(world).have()
    assert first.payloads("content_request") == [{}]
    first.leave()
    world.settle()
    assert reader.contents == [TEXT]
    world.wait(0.2)
    assert second.count == 1


def test_whoever_lies_is_put_out_and_the_next_is_asked_at_once() -> None:
    world = World()
    liar = Window(world)
    liar.have()
    liar.texts[PAGE] = "something else"
    reader = Window(world).want()
    honest = Window(world, honest=False).have()
    world.settle()
    assert liar.payloads("phx_error") == [{"reason": "bad_hash"}]
    assert liar.payloads("phx_reply")[-1] == {"status": "error", "response": {"reason": "bad_hash"}}
    assert reader.contents == []
    honest.answer(f"have:{PAGE}")
    assert reader.contents == [TEXT]
    assert world.pages().counts.bad_hashes == 1
    world.wait(0.2)
    assert honest.count == 1  # the liar is none any more
    liar.have()
    assert liar.payloads("phx_reply")[-1] == {"status": "error", "response": {"reason": "bad_hash"}}


def test_a_page_that_is_too_large_is_a_lie() -> None:
    world = World(limits=PageLimits(page_bytes=1000))
    text = "é" * 501
    holder = Window(world).have(text)
    page = next(iter(holder.texts))
    reader = Window(world).want(page)
    world.settle()
    assert reader.contents == []
    assert holder.payloads("phx_error") == [{"reason": "bad_hash"}]


def test_a_wanted_page_without_a_holder_is_not_answered_until_one_comes() -> None:
    world = World()
    reader = Window(world).want()
    world.wait(9.0)
    assert reader.contents == []
    Window(world).have()
    world.settle()
    assert reader.contents == [TEXT]


def test_a_want_that_was_not_renewed_is_over() -> None:
    world = World()
    Window(world).want()
    world.wait(11.0)
    holder = Window(world).have()
    world.settle()
    assert holder.payloads("content_request") == []


def test_readers_who_come_together_share_one_fetch() -> None:
    world = World()
    holder = Window(world).have()
    readers = [Window(world).want() for _ in range(50)]
    world.settle()
    assert all(reader.contents == [TEXT] for reader in readers)
    assert len(holder.payloads("content_request")) == 1


def test_who_has_not_asked_yet_gets_what_another_has_asked_for_and_has_nobody_asked() -> None:
    world = World(2)
    holder = Window(world, 1, honest=False).have()
    patient = [Window(world, site) for site in (0, 1)]
    for window in patient:
        window.push(f"want:{PAGE}", "phx_join", {})
    world.wait(9.0)
    assert holder.payloads("content_request") == []
    readers = [Window(world, 0).want() for _ in range(2)]
    world.settle()
    holder.answer(f"have:{PAGE}")
    world.settle()
    for window in (*patient, *readers):  # each of them once, also if it stays
        assert window.contents == [TEXT]
    assert holder.payloads("content_request") == [{}]
    holder.answer(f"have:{PAGE}")  # nobody has asked
    world.settle()
    assert patient[1].contents == [TEXT]
    patient[1].push(f"want:{PAGE}", "content_request", {"hash": PAGE})
    holder.answer(f"have:{PAGE}")
    assert patient[1].contents == [TEXT, TEXT]


def test_a_page_is_found_on_another_site_at_once() -> None:
    world = World(3)
    Window(world, 2).have()
    reader = Window(world, 0).want()
    world.settle()
    assert reader.contents == [TEXT]


def test_a_site_that_dies_owing_an_answer_is_made_up_for() -> None:
    for seed in range(10):
        world = World(3, seed=seed)
        Window(world, 1, honest=False).have()
        Window(world, 2).have()
        reader = Window(world, 0).want()
        world.settle()
        world.kill(1)
        world.wait(0.31)
        assert reader.contents == [TEXT]


def test_chain_the_first_leaves_and_the_third_still_gets_it_from_the_second() -> None:
    world = World(3)
    first = Window(world, 0).have()
    second = Window(world, 1).want()
    world.settle()
    second.have(second.contents[0])
    first.leave()
    third = Window(world, 2).want()
    world.settle()
    assert third.contents == [TEXT]
    third.leave()
    second.leave()
    world.settle()
    assert not any(site.directory.pages for site in world.sites.values())
    fourth = Window(world, 0).want()
    world.wait(5.0)
    assert fourth.contents == []


def test_long_contents_come_in_parts_to_those_who_say_so() -> None:
    text = "<p>" + "ü😀" * 30_000
    world = World()
    holder = Window(world, honest=False).have(text, parts=True)
    page = next(iter(holder.texts))
    new, old = Window(world).want(page, parts=True), Window(world).want(page)
    count = 4
    step = -(-len(text) // count)
    for index in range(count):
        part = {"index": index, "count": count, "part": text[index * step : (index + 1) * step], "hash": page}
        holder.push(f"have:{page}", "content_part", part)
    world.settle()
    assert old.contents == [text]
    parts = new.payloads("content_part")
    assert "".join(part["part"] for part in parts) == text
    assert [part["index"] for part in parts] == list(range(parts[0]["count"]))


def test_parts_out_of_order_or_unasked_are_refused_and_nothing_is_kept() -> None:
    world = World()
    holder = Window(world, honest=False).have(parts=True)
    topic = f"have:{PAGE}"

    def reason() -> str:
        return str(holder.payloads("phx_reply")[-1]["response"].get("reason"))

    holder.push(topic, "content_part", {"index": 0, "count": 2, "part": "x"})
    assert reason() == "not_asked"
    Window(world).want()
    holder.push(topic, "content_part", {"index": 1, "count": 2, "part": "x"})
    assert reason() == "bad_part"
    holder.push(topic, "content_part", {"index": 0, "count": 9, "part": "x" * 200_000})
    holder.push(topic, "content_part", {"index": 1, "count": 9, "part": "x" * 200_000})
    assert reason() == "too_large"
    holder.push(topic, "content_part", {"index": 2, "count": 9, "part": "x"})
    assert reason() == "bad_part"


def test_a_thousand_waiting_readers_get_a_large_page_turn_by_turn() -> None:
    text = "x" * 200_000
    world = World()
    page = next(iter(Window(world).have(text).texts))
    readers = [Window(world).want(page) for _ in range(100)]
    world.settle()
    served = sum(reader.contents == [text] for reader in readers)
    assert 0 < served < 100
    world.wait(1.0)
    assert all(reader.contents == [text] for reader in readers)
