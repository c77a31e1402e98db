"""Shard's room as dialogues of replicas: what its checklist asks for and no other test shows by itself."""

from megaphone.history.batch import decode as decode_batch
from megaphone.history.messages import Batches, Info
from megaphone.history.messages_codec import decode
from tests.unit.history.nodes import Node, assert_same, connected, pair, run_all
from tests.unit.history.origins import NOW_MS, Writer, texts

NAMES = ("anna", "bert", "carl", "dora")


def nodes_in_turn() -> list[Node]:
    """Nodes, each of which speaks first to those behind it."""
    return sorted(map(Node, NAMES), key=lambda node: node.origin)


def test_who_begins_is_interested_and_says_so_to_every_peer() -> None:
    newcomer, *peers = nodes_in_turn()
    for peer in peers:
        peer.say(f"from {peer.name}")
    links = [connected(newcomer, peer) for peer in peers]
    assert [link.dialogue[0] for link in links] == [f"{newcomer.name}: Interested"] * len(peers)
    run_all(links, NOW_MS)
    assert sorted(map(str, texts(newcomer.log))) == sorted(f"from {peer.name}" for peer in peers)


def test_who_was_interested_once_hears_all_that_follows() -> None:
    """Of the room, and without asking again; to ask anything about a room is to be interested in it."""
    for first_has_something in (False, True):
        one, other = pair()
        (one if first_has_something else other).say("before")
        link = connected(one, other)
        link.run()
        link.said.clear()
        for number in range(3):
            one.say(f"one {number}")
            other.say(f"other {number}")
            link.run()
        assert set(link.dialogue) == {f"{one.name}: Push", f"{other.name}: Push"}
        assert len(link.dialogue) == 6
        assert_same(one, other)


def test_a_burst_is_pushed_whole() -> None:
    """Shard pushed the newest five, and what was before them came at the next question."""
    one, other = pair()
    link = connected(one, other)
    link.run()
    link.said.clear()
    one.say(*map(str, range(500)))
    one.say(*map(str, range(500, 1000)))
    link.run()
    assert set(link.dialogue) == {f"{one.name}: Push"}
    assert texts(other.log) == [str(number) for number in range(1000)]


def test_back_filling_ends_at_what_is_known() -> None:
    """Page by page from the newest back, and nothing is sent that is there already."""
    one, other = pair()
    writer = Writer("writer")
    for number in range(1000):
        batch = writer.say(f"known {number}")
        one.take(batch)
        other.take(batch)
    for number in range(2000):
        other.take(writer.say(f"new {number} {'x' * 300}"))
    link = connected(one, other)
    link.run()
    assert_same(one, other)
    answers = [decode(data) for _, data in link.said]
    pages = [each.batches for each in answers if isinstance(each, Batches | Info) and each.batches]
    sent = [decode_batch(data) for page in pages for data in page]
    assert len(pages) > 2
    assert sum(len(batch.entries) for batch in sent) == 2000
    assert min(batch.seq for batch in sent) == 1001
    assert pages[0]
    assert max(decode_batch(data).last for data in pages[0]) == 3000
