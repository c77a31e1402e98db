"""The queue of idle streams of ejabberd_megaphone, without an ejabberd."""

import subprocess
from pathlib import Path

from tests.servers.ejabberd_link import compiled_module

SCRIPT = Path(__file__).with_name("ejabberd_idle.escript")
TIMEOUT_SECONDS = 60.0


def test_idle_queue() -> None:
    """Order, limit, and the option that turns it off."""
    done = subprocess.run(
        ["escript", str(SCRIPT), str(compiled_module())],
        capture_output=True,
        text=True,
        check=False,
        timeout=TIMEOUT_SECONDS,
    )
    assert (done.returncode, done.stdout) == (0, "right\n"), done.stdout + done.stderr
