"""What a stack of a worker counts for, and that nobody takes silence for an answer."""

import pytest

from tests.bench.cluster_stacks import Stacks, part_of
from tests.servers.process import ServerError

RUN = "<module> (/usr/lib/runpy.py:1);main (/x/megaphone/worker/process.py:9);run (/x/uvloop/loop.py:1)"


@pytest.mark.parametrize(
    ("frames", "part"),
    [
        (RUN, "edge and rooms"),
        (
            f"{RUN};take (/x/megaphone/embedded/router.py:1);receive (/x/megaphone/rooms/groupchat.py:2)",
            "edge and rooms",
        ),
        (f"{RUN};take (/x/megaphone/rooms/rooms.py:1);append (/x/megaphone/history/replica.py:2)", "history"),
        (f"{RUN};append (/x/megaphone/embedded/archives.py:1)", "history"),
        (f"{RUN};data_received (/x/megaphone/bus/nats_connection.py:1)", "between nodes"),
        (
            f"{RUN};deliver (/x/megaphone/embedded/nodes.py:1);heard (/x/megaphone/embedded/room_nodes.py:2)",
            "between nodes",
        ),
        # what another node has said is checked and stored: that is history, whoever has brought it
        (f"{RUN};take (/x/megaphone/embedded/nodes.py:1);accept (/x/megaphone/history/log.py:2)", "history"),
    ],
)
def test_what_a_stack_counts_for(frames: str, part: str) -> None:
    assert part_of(frames) == part


def test_shares_add_up() -> None:
    stacks = Stacks()
    stacks.read(
        f"{RUN} 6\n{RUN};a (/x/megaphone/history/log.py:1) 3\n\nno stack\n{RUN};b (/x/megaphone/bus/nats.py:1) 1\n"
    )
    assert stacks.shares() == {"history": 0.3, "between nodes": 0.1, "edge and rooms": 0.6}


def test_other_threads_are_left_out() -> None:
    stacks = Stacks()
    stacks.read(
        f"{RUN} 1\nThread._bootstrap_inner (/usr/lib/threading.py:1);_run (/x/megaphone/storage/writer.py:2) 99\n"
    )
    assert stacks.shares() == {"history": 0.0, "between nodes": 0.0, "edge and rooms": 1.0}


def test_nothing_seen_is_no_share() -> None:
    with pytest.raises(ServerError, match="py-spy has seen no worker"):
        Stacks().shares()
