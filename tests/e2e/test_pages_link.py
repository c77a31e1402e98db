"""Ephemeral pages of two workers with links into Prosody: asked across workers, counted over both, and after a kill."""

import os
import signal

import pytest
from websockets.exceptions import ConnectionClosed

from tests.e2e.edges import edge_in, plain_listener
from tests.scenarios.pages_window import PagesWindow, page_of
from tests.servers.megaphone import Edge
from tests.servers.process import wait_until

LINKS = 4  # two of each worker
WINDOWS_LIMIT = 64  # that are opened until the kernel gives one to the worker it is for
FETCHES_LIMIT = 32


def with_pages(edge: Edge) -> None:
    """On a listener of their own: a browser needs no TLS for its own machine."""
    plain_listener(edge, web=["pages"])


linked_to_prosody = edge_in("linked_to_prosody", with_pages)


def window_at(edge: Edge, worker: int) -> PagesWindow:
    """A window that this worker serves."""
    for _ in range(WINDOWS_LIMIT):
        window = PagesWindow(f"ws://{edge.tables['listen'][-1]['address']}/ws/websocket?vsn=2.0.0")
        rows = edge.request("GET", "/connections?limit=1000")["connections"]
        if [row["worker"] for row in rows if row["port"] == window.local_port] == [worker]:
            return window
        window.close()
    raise AssertionError(f"no window came to worker {worker}")


def are_attached(edge: Edge) -> None:
    """Wait until all links into Prosody stand."""
    wait_until(lambda: edge.metric("megaphone_links", state="attached") == LINKS, "all links", 30.0)


def counted(edge: Edge, result: str) -> float:
    """How many requests have come to this on both workers."""
    return edge.metric("megaphone_pages_requests_total", result=result)


def fetch(reader: PagesWindow, holders: list[PagesWindow], text: str) -> list[int]:
    """Let the reader ask and all holders answer; how often each of them was asked."""
    asked = [0] * len(holders)
    reader.want(page_of(text))
    while not reader.hears("content", 0.01):
        for number, holder in enumerate(holders):
            asked[number] += holder.answer_all(text)
    assert reader.heard[-1][4] == {"content": text}
    reader.push(f"want:{page_of(text)}", "phx_leave", {})
    return [before + holder.answer_all(text) for before, holder in zip(asked, holders, strict=True)]


def is_gone(edge: Edge) -> None:
    """Wait until no worker knows of any page."""
    wait_until(lambda: edge.metric("megaphone_pages") == 0, "the pages are gone", 20.0)


def test_a_page_of_one_worker_is_fetched_at_the_other(linked_to_prosody: Edge) -> None:
    edge = linked_to_prosody
    are_attached(edge)
    text = "written at one worker, read at the other"
    author, reader = window_at(edge, 0), window_at(edge, 1)
    holders = [author.have(text)]
    assert fetch(reader, holders, text)[0] >= 1
    holders += [window_at(edge, worker).have(text) for worker in (0, 1)]
    for holder in holders:
        holder.until_count(3)

    # of holders at both workers one is asked, and a second one only if the first takes 300 ms
    here = there = exactly_one = 0
    for _ in range(FETCHES_LIMIT):
        served, hedged = counted(edge, "served"), counted(edge, "hedged")
        asked = fetch(reader, holders, text)
        wait_until(lambda served=served: counted(edge, "served") == served + 1, "it is counted", 20.0)
        assert 1 <= sum(asked) <= 1 + counted(edge, "hedged") - hedged
        exactly_one += sum(asked) == 1
        here, there = here + asked[2], there + asked[0] + asked[1]
        if here and there and exactly_one:
            break
    assert here
    assert there
    assert exactly_one

    # gone with the last of them, and there again with the first who brings it
    for left, holder in enumerate(holders[:2], 1):
        holder.close()
        holders[2].until_count(3 - left)
    holders[2].close()
    is_gone(edge)
    taken, asked_before = counted(edge, "taken"), counted(edge, "asked")
    reader.want(page_of(text))
    wait_until(lambda: counted(edge, "taken") == taken + 1, "its request is counted", 20.0)
    assert counted(edge, "asked") == asked_before
    again = window_at(edge, 0).have(text)
    again.until_count(1)
    again.answer(text)
    assert reader.event("content") == {"content": text}
    for window in (again, reader):
        window.close()
    is_gone(edge)


def test_the_successor_of_a_killed_worker_knows_who_holds_a_page(linked_to_prosody: Edge) -> None:
    edge = linked_to_prosody
    are_attached(edge)
    text = "one worker is killed"
    staying, lost = ([window_at(edge, worker).have(text) for _ in range(2)] for worker in (0, 1))
    for window in (*staying, *lost):
        window.until_count(4)
    before = edge.request("GET", "/status")["workers"][1]["pid"]
    os.kill(before, signal.SIGKILL)
    for window in lost:
        with pytest.raises(ConnectionClosed):
            window.until(lambda _: False)
    for window in staying:
        window.until_count(2)

    def replaced() -> bool:
        worker = edge.request("GET", "/status")["workers"][1]
        return worker["pid"] not in (before, None) and worker["state"] == "ready"

    wait_until(replaced, "a new worker")
    are_attached(edge)
    # it gets the page from those who stayed at the other worker, and gives it on when they are gone
    back = [window_at(edge, 1) for _ in range(2)]
    for window in back:
        assert sum(fetch(window, staying, text)) >= 1
    for window in back:
        window.have(text)
    for window in (*staying, *back):
        window.until_count(4)
    for window in staying:
        window.close()
    for window in back:
        window.until_count(2)
    reader = window_at(edge, 0)
    assert sum(fetch(reader, back, text)) >= 1
    for window in (*back, reader):
        window.close()
    is_gone(edge)
