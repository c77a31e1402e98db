"""Whatever windows say, in whatever order: nothing breaks, nothing is left, and nobody gets a wrong page."""

import json
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st

from megaphone.pages.content import page_of
from megaphone.pages.limits import PageLimits
from tests.unit.pages.windows import Window, World

TEXTS = ("one", "two")
TOPICS = (*(f"{kind}:{page_of(text.encode())}" for kind in ("have", "want") for text in TEXTS), "all", "phoenix")
EVENTS = ("phx_join", "phx_leave", "heartbeat", "content", "content_part", "content_request", "other")
PAYLOADS = st.one_of(
    st.just({}),
    st.fixed_dictionaries({"content": st.sampled_from((*TEXTS, "a lie", 5))}),
    st.fixed_dictionaries(
        {"index": st.integers(-1, 2), "count": st.integers(-1, 3), "part": st.sampled_from(("one", "tw", "o", ""))}
    ),
    st.fixed_dictionaries({"parts": st.sampled_from((True, "x"))}),
    st.one_of(st.none(), st.integers(), st.text(max_size=3)),
)
SAID = st.tuples(st.integers(0, 3), st.sampled_from(TOPICS), st.sampled_from(EVENTS), PAYLOADS)


@settings(max_examples=150, deadline=None)
@given(st.lists(st.one_of(SAID, st.integers(0, 3), st.floats(0, 3)), max_size=60))
def test_anything_in_any_order(said: list[Any]) -> None:
    world = World(2, PageLimits(pages=2, topics_per_connection=3, joins_per_second=3))
    windows = [Window(world, number % 2, honest=False) for number in range(4)]
    for each in said:
        if isinstance(each, tuple):
            number, topic, event, payload = each
            if windows[number].closed is None:
                windows[number].push(topic, event, payload)
        elif isinstance(each, int):
            windows[each].leave()
            windows[each] = Window(world, each % 2)
            windows[each].texts = {page_of(text.encode()): text for text in TEXTS}
        else:
            world.wait(each)
    world.wait(1.0)
    for window in windows:
        for message in window.heard:
            if message[3] == "content":
                assert page_of(message[4]["content"].encode()) == message[2].removeprefix("want:")
            json.dumps(message)
    for window in windows:
        window.leave()
    world.wait(1.0)
    for site in world.sites.values():
        assert not site.directory.pages
        assert (site.directory.holders, site.directory.wants, site.counts.visitors) == (0, 0, 0)
