"""A process that writes a history until it is killed, and says what is durable: for test_history_killed.

Lines on standard output: DURABLE and a seq of its feed, ERASED and a seq.
"""

import os
import sys
import threading
from collections import deque

from megaphone.storage.history_file import HistoryFile
from tests.unit.storage.histories import ROOM, Writing


def main(path: str) -> None:
    """Go on behind what is there, batch after batch; erase an entry now and then."""
    expected: deque[tuple[int, str]] = deque()  # position, and the line to write when it is durable
    speaking = threading.Lock()

    def committed(position: int) -> None:
        with speaking:
            lines = []
            while expected and expected[0][0] <= position:
                lines.append(expected.popleft()[1])
            os.write(1, "".join(lines).encode())

    store = HistoryFile(path, call_soon=lambda call, position: call(position), on_committed=committed)
    store.put_room(ROOM)
    anna = Writing("anna")
    tip = store.tip(ROOM.id, anna.origin)
    if tip is not None:
        anna.seq, anna.previous = tip.seq, tip.id
        anna.at_ms += tip.seq * 1000
    number = 0
    while True:
        number += 1
        batch, ids = anna.batch(1 + number * 7 % 40)
        position = store.put(batch, ids)
        with speaking:
            expected.append((position, f"DURABLE {batch.last}\n"))
        if number % 5 == 0:
            position = store.erase(ROOM.id, ids[0])
            with speaking:
                expected.append((position, f"ERASED {batch.seq}\n"))
        if number % 40 == 0:
            store.flush()


if __name__ == "__main__":
    main(sys.argv[1])
