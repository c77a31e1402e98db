"""A program in a terminal of its own (tmux), with keys to press and a screen to look at."""

import asyncio
import shlex
import subprocess
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

COLUMNS, LINES = 170, 40
WAIT_SECONDS = 60.0  # on a busy machine; nothing waits this long when it works
POLL_SECONDS = 0.05


class Terminal:
    """To be used `async with`; its end is that of the program. `directory` must be short: a Unix socket is in it."""

    def __init__(self, directory: Path, command: Sequence[str], environment: Mapping[str, str]) -> None:
        self._socket = directory / "tmux"
        self._command = shlex.join(command)
        self._environment = dict(environment)

    def _tmux(self, *arguments: str) -> str:
        done = subprocess.run(
            ["tmux", "-S", str(self._socket), "-f", "/dev/null", *arguments],
            env=self._environment,
            capture_output=True,
            text=True,
            check=False,
        )
        assert done.returncode == 0, done.stderr
        return done.stdout

    async def __aenter__(self) -> "Terminal":
        self._tmux("new-session", "-d", "-x", str(COLUMNS), "-y", str(LINES), self._command)
        self._tmux("set-option", "remain-on-exit", "on")
        return self

    async def __aexit__(self, *_: object) -> None:
        self._tmux("kill-server")

    def screen(self) -> str:
        """What a person sees now."""
        return self._tmux("capture-pane", "-p")

    def type(self, line: str) -> None:
        """Type a line and press Enter."""
        self._tmux("send-keys", "-l", "--", line)
        self._tmux("send-keys", "Enter")

    def press(self, key: str) -> None:
        """Press one key."""
        self._tmux("send-keys", "-l", "--", key)

    def resize(self, columns: int, lines: int) -> None:
        """Give the window another size."""
        self._tmux("resize-window", "-x", str(columns), "-y", str(lines))

    async def until(self, shown: str | Callable[[str], bool]) -> str:
        """Wait until a text is on the screen (or a condition of it holds) and return the screen."""
        deadline = asyncio.get_running_loop().time() + WAIT_SECONDS
        while True:
            screen = self.screen()
            if shown in screen if isinstance(shown, str) else shown(screen):
                return screen
            assert asyncio.get_running_loop().time() < deadline, f"no {shown!r} on\n{screen}"
            await asyncio.sleep(POLL_SECONDS)

    async def ended(self) -> None:
        """Wait until the program has ended by itself."""
        await self.until(lambda _: self._tmux("display-message", "-p", "#{pane_dead}") == "1\n")
