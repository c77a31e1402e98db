"""A process that writes until it is killed, and says what is committed: for test_killed.

Lines on standard output, each with the number of a message: PUT and REMOVED when that is committed, REMOVING before the
removal is asked for.
"""

import os
import sys
import threading
from collections import deque

from megaphone.storage.storage import Storage
from megaphone.storage.users import SQLiteUsers
from megaphone.stream.jid import JID

speaking = threading.Lock()  # the loop and the storage's thread both speak


def say(lines: str) -> None:
    """Write lines in one call."""
    with speaking:
        os.write(1, lines.encode())


def main(directory: str, worker: int) -> None:
    """Put messages in order, and remove every third a while later."""
    expected: deque[tuple[int, str]] = deque()  # position, and the line to write when it is committed

    def committed(position: int) -> None:
        lines = []
        while expected and expected[0][0] <= position:
            lines.append(expected.popleft()[1])
        if lines:
            say("".join(lines))

    storage = Storage(directory, worker=worker, call_soon=lambda call, position: call(position), on_committed=committed)
    store = SQLiteUsers(storage)
    romeo = JID("romeo", "montague.example")
    kept: deque[int] = deque()
    count = 0
    while True:
        count += 1
        number = store.spool_add(romeo, b"%d:%d" % (worker, count), 1.0)
        expected.append((storage.writer.position, f"PUT {number}\n"))
        kept.append(number)
        if len(kept) > 300:
            for _ in range(2):
                kept.popleft()
            removed = kept.popleft()
            say(f"REMOVING {removed}\n")
            expected.append((store.spool_remove(romeo, [removed]), f"REMOVED {removed}\n"))
        if storage.writer.queued > 5000:
            storage.writer.flush()


if __name__ == "__main__":
    main(sys.argv[1], int(sys.argv[2]))
