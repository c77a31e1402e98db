"""`python -m megaphone.worker CHANNEL_FD`: one worker process; only the supervisor starts it."""

import sys

from megaphone.worker.process import run
from megaphone.worker.worker import Worker

if __name__ == "__main__":
    raise SystemExit(run(int(sys.argv[1]), Worker))
