"""One `megaphone chat` with pipes, as a script would run it: types lines, and waits for what it prints."""

import asyncio
import contextlib
import os
import sys
from collections.abc import AsyncIterator, Callable
from pathlib import Path

STEP_TIMEOUT_SECONDS = 30.0


class Chatter:
    """`lines` is what it printed so far; made by `chatting`."""

    def __init__(self, nick: str, process: asyncio.subprocess.Process) -> None:
        self.nick = nick
        self.lines: list[str] = []
        self._process = process
        self._changed = asyncio.Event()
        self._reading = asyncio.create_task(self._read())

    async def _read(self) -> None:
        assert self._process.stdout is not None
        async for line in self._process.stdout:
            self.lines.append(line.decode().removesuffix("\n"))
            self._changed.set()
        self._changed.set()

    def type(self, *lines: str) -> None:
        """Lines for its standard input."""
        assert self._process.stdin is not None
        self._process.stdin.write("".join(f"{line}\n" for line in lines).encode())

    async def until(self, condition: Callable[[list[str]], bool], what: str = "") -> None:
        """Wait until what it printed fulfils the condition."""
        try:
            async with asyncio.timeout(STEP_TIMEOUT_SECONDS):
                while not condition(self.lines):
                    assert not self._reading.done(), f"{self.nick} ended before {what}: {self.lines}"
                    self._changed.clear()
                    await self._changed.wait()
        except TimeoutError:
            raise AssertionError(f"{self.nick} never printed {what}: {self.lines}") from None

    async def shows(self, line: str) -> None:
        """Wait for exactly this line."""
        await self.until(lambda lines: line in lines, line)

    def said(self) -> list[str]:
        """What the occupants said, without what the program tells."""
        told = ("[JOIN] ", "[LEAVE] ", "[ROOM] ", "[SERVER] ", "[SERVER UPDATE] ", "[SUBJECT] ", "[NICK] ", "[ERROR] ")
        return [line for line in self.lines if not line.startswith(told)]

    async def end(self) -> tuple[int, str]:
        """Wait for its end; exit code and standard error."""
        assert self._process.stdin is not None
        assert self._process.stderr is not None
        async with asyncio.timeout(STEP_TIMEOUT_SECONDS):
            err = (await self._process.stderr.read()).decode()
            code = await self._process.wait()
            await self._reading
        assert "Traceback" not in err, err
        return code, err

    async def end_of_input(self) -> tuple[int, str]:
        """Close its standard input and wait for its end."""
        assert self._process.stdin is not None
        self._process.stdin.close()
        return await self.end()

    async def leave(self) -> None:
        """Type `exit`; it must end well."""
        self.type("exit")
        assert await self.end() == (0, "")

    async def kill(self) -> None:
        """End it without its doing anything."""
        with contextlib.suppress(ProcessLookupError):
            self._process.kill()
        await self._process.wait()
        self._reading.cancel()


@contextlib.asynccontextmanager
async def chatting(room: str, *nicks: str, options: tuple[str | Path | int, ...]) -> AsyncIterator[list[Chatter]]:
    """One process for each nick, each inside before the next one starts; all are gone at the end."""
    chatters: list[Chatter] = []
    try:
        for nick in nicks:
            chatters.append(await start(room, nick, options=options))
            await chatters[-1].shows(f"[JOIN] {nick} joined the chat")
        yield chatters
    finally:
        await asyncio.gather(*(chatter.kill() for chatter in chatters))


async def start(room: str, nick: str, *, options: tuple[str | Path | int, ...]) -> Chatter:
    """A process that has been started and no more."""
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "megaphone", "chat", room, "--as", nick, *(str(option) for option in options)),
        stdin=asyncio.subprocess.PIPE,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
        env={**os.environ, "PYTHONUNBUFFERED": "1"},
    )
    return Chatter(nick, process)
