"""What an upgrade's run makes of the command and of the counters."""

import json
from collections import Counter

from loadtest.million.upgrade import Done, missing, moved

VIEW = {
    "stage": "failed",
    "reason": "worker 1 said no",
    "workers": [
        {"worker": 0, "stage": "done", "moved": 9_900, "ended": 3, "seconds": 4.567},
        {"worker": 1, "stage": "waiting", "moved": 0, "ended": 0, "seconds": None},
    ],
}


def test_what_the_command_says() -> None:
    done = Done(1, 5.0, json.dumps(VIEW))
    assert done.told == "worker 1 said no"
    assert moved(done.view, [{"component": "worker-0", "frozen_seconds": 0.0625}]) == {
        "worker 0": {"moved": 9_900, "ended": 3, "seconds": 4.57, "frozen seconds": 0.0625},
        "worker 1": {"moved": 0, "ended": 0, "seconds": 0.0, "frozen seconds": None},
    }


def test_another_command() -> None:
    done = Done(2, 0.1, "", "no such command\n")
    assert done.told == "no such command"
    assert moved(done.view, []) == {}


def test_what_is_missing() -> None:
    def counted(**counters: int) -> int:
        return missing(Counter(counters))

    assert counted(chat_sent=10, chat_received=10) == 0
    assert counted(chat_sent=10, chat_received=9) == 1
    # one was lost, and another came twice
    assert counted(chat_sent=10, chat_received=10, chat_repeated=1, chat_missed=1) == 1
    # one came back
    assert counted(chat_sent=10, chat_received=9, chat_bounced=1) == 1
