"""`python -m megaphone.worker CHANNEL_FD`: one worker process; only the supervisor starts it."""

import sys

from megaphone.worker.worker import run

if __name__ == "__main__":
    raise SystemExit(run(int(sys.argv[1])))
