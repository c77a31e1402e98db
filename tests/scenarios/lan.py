"""A LAN of network namespaces: each host has a network of its own, with cables to bridges that are nobody else's.

    host a ── veth ──┐
                     ├ bridge 10.77.1.0/24 (in the namespace of the LAN)
    host b ── veth ──┘

Names are unique to the test; everything is removed at its end. A cable can be pulled and put back. Needs root.
"""

import asyncio
import contextlib
import ctypes
import os
import re
import socket
import subprocess
import sys
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest

from tests.scenarios.chatter import STEP_TIMEOUT_SECONDS, Chatter

SAID = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ #(\S+) <([^>]*)> (.*)")

CLONE_NEWNET = 0x40000000  # linux/sched.h
_LIBC = ctypes.CDLL(None, use_errno=True)

RESPONDER = """
import sys
from zeroconf import IPVersion, ServiceInfo, Zeroconf
name, address = sys.argv[1:]
responder = Zeroconf(ip_version=IPVersion.V4Only)
service = "_workstation._tcp.local."
host = ServiceInfo(service, f"{name}.{service}", port=9, server=f"{name}.local.", parsed_addresses=[address])
responder.register_service(host)
print("answering", flush=True)
sys.stdin.read()
"""


def _ip(*words: str) -> None:
    done = subprocess.run(["ip", *words], capture_output=True, text=True, timeout=30, check=False)
    if done.returncode:
        raise RuntimeError(f"ip {' '.join(words)}: {done.stderr.strip()}")


def _set_network(descriptor: int) -> None:
    if _LIBC.setns(descriptor, CLONE_NEWNET):
        raise OSError(ctypes.get_errno(), "setns")


def can_make_networks() -> bool:
    """Whether this machine and user may."""
    probe = f"mp{os.getpid()}probe"
    try:
        _ip("netns", "add", probe)
        _ip("netns", "del", probe)
    except (RuntimeError, FileNotFoundError):
        return False
    return True


needs_networks = pytest.mark.skipif(not can_make_networks(), reason="needs network namespaces (root, iproute2)")


class Lan:
    """`bridges` are separate networks; hosts are on one or several of them."""

    def __init__(self, prefix: str) -> None:
        self._prefix = prefix
        self._switch = f"{prefix}sw"
        self._namespaces: list[str] = []
        self._hosts = 0
        self._add_namespace(self._switch)

    def _add_namespace(self, name: str) -> None:
        _ip("netns", "add", name)
        self._namespaces.append(name)
        _ip("-n", name, "link", "set", "lo", "up")

    def add_bridge(self, number: int) -> None:
        """A network 10.77.`number`.0/24."""
        _ip("-n", self._switch, "link", "add", f"br{number}", "type", "bridge", "mcast_snooping", "0")
        _ip("-n", self._switch, "link", "set", f"br{number}", "up")

    def add_host(self, name: str, *bridges: int) -> "Host":
        """A host on these bridges."""
        namespace = f"{self._prefix}{name}"
        self._add_namespace(namespace)
        self._hosts += 1
        host = Host(name, namespace, self._hosts)
        for number in bridges:
            self.connect(host, number)
        return host

    def connect(self, host: "Host", number: int) -> None:
        """Run a cable from a host to a bridge."""
        inside, outside = f"eth{number}", f"{host.name}{number}"
        _ip(
            *("-n", self._switch, "link", "add", outside, "type", "veth"),
            *("peer", "name", inside, "netns", host.namespace),
        )
        _ip("-n", self._switch, "link", "set", outside, "master", f"br{number}", "up")
        _ip("-n", host.namespace, "addr", "add", f"10.77.{number}.{host.number}/24", "dev", inside)
        _ip("-n", host.namespace, "link", "set", inside, "up")

    def pull(self, host: "Host", bridge: int) -> None:
        """Pull the cable between a host and a bridge."""
        _ip("-n", self._switch, "link", "set", f"{host.name}{bridge}", "down")

    def plug(self, host: "Host", bridge: int) -> None:
        """Put it back."""
        _ip("-n", self._switch, "link", "set", f"{host.name}{bridge}", "up")

    def remove(self) -> None:
        """Remove everything; cables go with their ends."""
        for namespace in reversed(self._namespaces):
            with contextlib.suppress(RuntimeError):
                _ip("netns", "del", namespace)


class Host:
    """A namespace; its address on a bridge ends with its number."""

    def __init__(self, name: str, namespace: str, number: int) -> None:
        self.name = name
        self.namespace = namespace
        self.number = number

    def address(self, bridge: int) -> str:
        """Its address on a bridge."""
        return f"10.77.{bridge}.{self.number}"

    def make_socket(self) -> socket.socket:
        """A TCP socket that is in this host's network, whoever uses it."""
        with self.inside():
            return socket.socket()

    @contextlib.contextmanager
    def inside(self) -> Iterator[None]:
        """Let this thread be on the host meanwhile (setns(2)); sockets stay where they were made."""
        own = os.open("/proc/thread-self/ns/net", os.O_RDONLY)
        there = os.open(f"/run/netns/{self.namespace}", os.O_RDONLY)
        try:
            _set_network(there)
            try:
                yield
            finally:
                _set_network(own)
        finally:
            os.close(own)
            os.close(there)

    async def chat(self, directory: Path, *options: str, name: str = "", room: str = "tea") -> "LanChatter":
        """Start `megaphone chat ROOM --lan` here, as the host's name; it has a data directory of its own."""
        process = await asyncio.create_subprocess_exec(
            *self.command(room, name or self.name, *options),
            stdin=asyncio.subprocess.PIPE,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.PIPE,
            env=self.environment(directory),
        )
        return LanChatter(name or self.name, process)

    @contextlib.contextmanager
    def answering(self, name: str, bridge: int) -> Iterator[None]:
        """Answer for NAME.local here, as the mDNS responder of an operating system does."""
        command = ["ip", "netns", "exec", self.namespace, sys.executable, "-c", RESPONDER, name, self.address(bridge)]
        with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
            assert process.stdout is not None
            assert process.stdout.readline() == "answering\n"
            try:
                yield
            finally:
                process.kill()

    @contextlib.contextmanager
    def terminal(self, directory: Path, *options: str, room: str = "tea") -> Iterator["Terminal"]:
        """The same on a terminal."""
        ours, its = os.openpty()
        process = subprocess.Popen(
            self.command(room, self.name, *options),
            stdin=its,
            stdout=its,
            stderr=its,
            env={**self.environment(directory), "TERM": "xterm"},
            start_new_session=True,
        )
        os.close(its)
        terminal = Terminal(process, ours)
        try:
            yield terminal
        finally:
            terminal.close()

    @property
    def prefix(self) -> tuple[str, ...]:
        """What a command is put behind to run here."""
        return ("ip", "netns", "exec", self.namespace)

    def command(self, room: str, name: str, *options: str) -> list[str]:
        """The command line of a chat here."""
        return [*self.prefix, sys.executable, "-m", "megaphone", "chat", room, "--lan", "--as", name, *options]

    def environment(self, directory: Path) -> dict[str, str]:
        """Its variables; each host has a data directory of its own."""
        return {**os.environ, "PYTHONUNBUFFERED": "1", "XDG_DATA_HOME": str(directory / self.name)}


class Terminal:
    """One `megaphone chat --lan` on a terminal; `screen` is all that it has written."""

    def __init__(self, process: "subprocess.Popen[bytes]", descriptor: int) -> None:
        self.screen = ""
        self._process = process
        self._descriptor = descriptor
        self._changed = asyncio.Event()
        asyncio.get_running_loop().add_reader(descriptor, self._read)

    def _read(self) -> None:
        try:
            data = os.read(self._descriptor, 65_536)
        except OSError:  # the other end is closed
            data = b""
        if not data:
            asyncio.get_running_loop().remove_reader(self._descriptor)
        self.screen += data.decode("utf-8", "replace")
        self._changed.set()

    def type(self, text: str) -> None:
        """Press these keys."""
        os.write(self._descriptor, text.encode())

    async def shows(self, text: str) -> None:
        """Wait until this has been written."""
        try:
            async with asyncio.timeout(STEP_TIMEOUT_SECONDS):
                while text not in self.screen:
                    self._changed.clear()
                    await self._changed.wait()
        except TimeoutError:
            raise AssertionError(f"never shown: {text!r} in {self.screen!r}") from None

    async def end(self) -> int:
        """Wait for its end; the exit code."""
        async with asyncio.timeout(STEP_TIMEOUT_SECONDS):
            while self._process.poll() is None:
                await asyncio.sleep(0.05)
        return self._process.returncode

    def close(self) -> None:
        """Kill it, and take the terminal away."""
        asyncio.get_running_loop().remove_reader(self._descriptor)
        self._process.kill()
        self._process.wait()
        os.close(self._descriptor)


class LanChatter(Chatter):
    """One `megaphone chat --lan` with pipes."""

    def lines_said(self) -> list[str]:
        """Author and text of each line that was said, as "a: hello"."""
        found = (SAID.fullmatch(line) for line in self.lines)
        return [f"{each[2]}: {each[3]}" for each in found if each is not None]

    async def hears(self, *lines: str) -> None:
        """Wait until these lines are there, as `lines_said` has them."""
        await self.until(lambda _: set(lines) <= set(self.lines_said()), f"{lines}")

    async def leave(self) -> None:
        """Type `exit`; it must end well."""
        self.type("exit")
        ended = await self.end()
        assert ended == (0, ""), (ended, self.lines)

    async def tells(self, start: str, times: int = 1) -> str:
        """Wait for a line of the program itself that begins so; returns the last one."""
        await self.until(lambda lines: sum(each.startswith(start) for each in lines) >= times, start)
        return [line for line in self.lines if line.startswith(start)][-1]


@pytest.fixture
def lan() -> Iterator[Lan]:
    """An empty LAN."""
    lan = Lan(f"mp{os.getpid()}{os.urandom(2).hex()}")
    try:
        yield lan
    finally:
        lan.remove()


@contextlib.asynccontextmanager
async def all_killed(chatters: list[LanChatter]) -> AsyncIterator[None]:
    """Kill what is still running at the end."""
    try:
        yield
    finally:
        await asyncio.gather(*(chatter.kill() for chatter in chatters))


@contextlib.asynccontextmanager
async def two_hosts(lan: Lan) -> AsyncIterator[tuple[Host, Host, list[LanChatter]]]:
    """Two hosts on one network, and a list for who chats there: who is in it is killed at the end."""
    lan.add_bridge(1)
    chatters: list[LanChatter] = []
    async with all_killed(chatters):
        yield lan.add_host("a", 1), lan.add_host("b", 1), chatters
