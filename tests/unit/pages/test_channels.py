"""Dialogues with a Phoenix server for pages: joins, leaves, heartbeats, refusals and limits, in both shapes."""

import json
from typing import Any

import pytest

from megaphone.pages import phoenix
from megaphone.pages.limits import Bucket, PageLimits
from tests.unit.pages.windows import ADDRESS, PAGE, TEXT, Window, World

HAVE, WANT = f"have:{PAGE}", f"want:{PAGE}"


def said(window: Window) -> list[Any]:
    heard, window.heard = window.heard, []
    return heard


def test_the_life_of_a_topic() -> None:
    window = Window(World())
    window.push("all", "phx_join", {})
    window.push("phoenix", "heartbeat", {})
    window.push(HAVE, "phx_join", {"parts": True})
    window.push(HAVE, "phx_leave", {}, join_ref="3")
    window.push(HAVE, "content", {"content": TEXT, "hash": PAGE}, join_ref="3")
    ok, error = {"status": "ok", "response": {}}, {"status": "error", "response": {"reason": "unmatched topic"}}
    assert said(window) == [
        ["1", "1", "all", "phx_reply", {"status": "ok", "response": {"page_bytes": 262_144}}],
        [None, "2", "phoenix", "phx_reply", ok],
        ["3", "3", HAVE, "phx_reply", ok],
        ["3", None, HAVE, "visitors_count", {"count": 1}],
        ["3", "4", HAVE, "phx_reply", ok],
        ["3", "3", HAVE, "phx_close", {}],
        ["3", "5", HAVE, "phx_reply", error],
    ]


def test_nothing_is_said_to_all() -> None:
    world = World()
    window = Window(world)
    window.push("all", "phx_join", {})
    holder, reader = Window(world).have(), Window(world).want()
    world.wait(60.0)
    assert reader.contents == [TEXT]
    for each in (holder, reader):
        each.leave()
    world.wait(60.0)
    assert [message[3] for message in said(window)] == ["phx_reply"]
    window.push("all", "content_request", {"hash": PAGE}, join_ref="1")
    error = {"status": "error", "response": {"reason": "unknown event"}}
    assert said(window) == [["1", "2", "all", "phx_reply", error]]


def test_the_first_shape_of_messages() -> None:
    world = World()
    heard: list[dict[str, Any]] = []

    class Old:
        def send_text(self, text: bytes) -> bool:
            heard.append(json.loads(text))
            return True

        def close(self, code: int, reason: str = "") -> None:
            raise AssertionError(reason)

    visitor = world.pages().open(Old(), 1, ADDRESS, world.now)
    join = {"topic": WANT, "event": "phx_join", "payload": {}, "ref": "1"}
    request = {"topic": WANT, "event": "content_request", "payload": {"hash": PAGE}, "ref": "2"}
    Window(world).have()
    for message in (join, request):
        world.pages().take(visitor, json.dumps(message).encode(), world.now)
    world.settle()
    ok = {"status": "ok", "response": {}}
    assert [(each["topic"], each["event"], each["payload"], each["ref"]) for each in heard] == [
        (WANT, "phx_reply", ok, "1"),
        (WANT, "content", {"content": TEXT}, None),
    ]


def test_joining_twice_closes_the_first_and_counts_once() -> None:
    world = World()
    window = Window(world).have().have()
    world.wait(0.2)
    assert [each for each in window.heard if each[3] == "phx_close"] == [["1", "1", HAVE, "phx_close", {}]]
    assert world.pages().directory.holders == 1
    assert window.count == 1
    window.push(HAVE, "phx_leave", {}, join_ref="1")  # of the earlier membership
    assert world.pages().directory.holders == 1


@pytest.mark.parametrize("topic", ["", "have:", "want:abc", f"have:{PAGE.upper()}", f"room:{PAGE}", "have", "all:x"])
def test_a_topic_that_is_none_cannot_be_joined(topic: str) -> None:
    world = World()
    window = Window(world)
    window.push(topic, "phx_join", {})
    assert said(window)[0][4] == {"status": "error", "response": {"reason": "unmatched topic"}}
    assert not world.pages().directory.pages


@pytest.mark.parametrize(
    "text", [b"", b"[]", b"{}", b'["1","2","all","x"]', b'[1,2,3,4,5]', b'["1","1","all","phx_join",{}', b"\xff", b"5"]
)  # fmt: skip
def test_what_is_no_message_ends_the_connection(text: bytes) -> None:
    world = World()
    window = Window(world)
    world.pages().take(window.visitor, text, world.now)
    assert window.closed == (1007, "no message of a Phoenix channel")


def test_events_that_nobody_knows_are_refused() -> None:
    window = Window(World()).have()
    window.push(HAVE, "shout", {})
    window.push(HAVE, "content", {"hash": PAGE})
    assert [each["response"].get("reason") for each in window.payloads("phx_reply")] == [
        None, "unknown event", "bad_payload",
    ]  # fmt: skip


def reasons(window: Window) -> list[str]:
    replies = window.payloads("phx_reply")
    return [reply["response"]["reason"] for reply in replies if reply["status"] == "error"]


def test_limits_of_joins_of_one_connection_and_of_one_address() -> None:
    world = World(limits=PageLimits(joins_per_second=1, joins_per_second_per_address=2))
    first = Window(world)
    for _ in range(10):
        first.have()
    assert reasons(first) == ["rate"] * 2
    second = Window(world)
    for _ in range(9):
        second.have()
    assert reasons(second) == ["rate"] * 1
    third = Window(world).have()
    assert reasons(third) == ["rate"]
    stranger = Window(world, address=b"\x20" * 16).have()
    assert reasons(stranger) == []
    world.wait(1.0)
    assert reasons(third.have()) == ["rate"]


def test_limits_of_topics_pages_viewers_and_wants() -> None:
    world = World(limits=PageLimits(topics_per_connection=2, pages=3, viewers_per_page=1, wants_per_page=1))
    first = Window(world).have("1").have("2").have("3")
    assert reasons(first) == ["too_many_topics"]
    second = Window(world).have("1").want().want("0" * 64)
    assert reasons(second) == ["too_many_viewers", "too_many_pages", "unmatched topic"]
    assert reasons(Window(world).want()) == ["too_many_wants", "unmatched topic"]
    first.leave()
    assert reasons(Window(world).have("1").have("2")) == []


def test_requests_and_messages_have_a_rate() -> None:
    world = World(limits=PageLimits(requests_per_second=0.5, messages_per_second=2))
    window = Window(world).want()
    for _ in range(4):
        window.push(WANT, "content_request", {})
    assert reasons(window) == ["rate"]
    for _ in range(20):
        window.push("phoenix", "heartbeat", {})
    assert window.closed == (1008, "too many messages")


def test_three_lies_end_the_connection_and_cost_its_address() -> None:
    world = World(limits=PageLimits(joins_per_second_per_address=1))
    window = Window(world)
    for text in "123":
        window.have(text)
        page = list(window.texts)[-1]
        window.push(f"have:{page}", "content", {"content": "x", "hash": page})
    assert window.closed == (1008, "bad_hash")
    assert reasons(Window(world).have()) == ["rate"]


def test_a_hash_of_another_page_is_a_lie_too() -> None:
    window = Window(World()).have()
    window.push(HAVE, "content", {"content": TEXT, "hash": "0" * 64})
    assert window.payloads("phx_error") == [{"reason": "bad_hash"}]


def test_a_bucket_fills_again_but_not_beyond_its_burst() -> None:
    bucket = Bucket(2.0, 0.0)
    assert all(bucket.take(2.0, 0.0) for _ in range(16))
    assert not bucket.take(2.0, 0.4)
    assert bucket.take(2.0, 0.5)
    assert sum(bucket.take(2.0, 1000.0) for _ in range(100)) == 16


@pytest.mark.parametrize(("vsn", "version"), [("", 1), ("1.0.0", 1), ("2.0.0", 2), ("3.0.0", None)])
def test_versions(vsn: str, version: int | None) -> None:
    assert phoenix.version_of(vsn) == version
