"""sd_notify(3): tells systemd how the service is doing, with one datagram per change.

Without NOTIFY_SOCKET in the environment everything here does nothing. A notification that cannot be delivered is lost
on purpose: systemd being busy is no reason for the service to stop.
"""

import os
import socket
import time
from collections.abc import Mapping
from typing import Final

import trio

_STATUS_LIMIT: Final = 500  # characters; the datagram has to fit the socket buffer with room to spare


class Notifier:
    """The sending side of systemd's notification socket."""

    def __init__(self, address: str | None, watchdog_seconds: float | None = None) -> None:
        self.watchdog_seconds = watchdog_seconds
        self._given = address
        self._address: str | None = None
        self._socket: socket.socket | None = None
        if address and address[0] in "/@":
            self._address = "\0" + address[1:] if address[0] == "@" else address
            self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_NONBLOCK)

    def again(self) -> "Notifier":
        """Another one like this one, which may be closed."""
        return Notifier(self._given, self.watchdog_seconds)

    def ready(self, status: str) -> None:
        """Start-up, or a reload, is finished."""
        self._send("READY=1", _status(status))

    def reloading(self, status: str) -> None:
        """A reload begins. MONOTONIC_USEC (needed by Type=notify-reload) orders it against systemd's signal."""
        self._send(
            "RELOADING=1", f"MONOTONIC_USEC={time.clock_gettime_ns(time.CLOCK_MONOTONIC) // 1000}", _status(status)
        )

    def stopping(self, status: str) -> None:
        """The drain begins."""
        self._send("STOPPING=1", _status(status))

    def status(self, text: str) -> None:
        """One line for `systemctl status`."""
        self._send(_status(text))

    def watchdog(self) -> None:
        """Still alive; due every `watchdog_seconds / 2`."""
        self._send("WATCHDOG=1")

    def extend_timeout(self, seconds: float) -> None:
        """Asks for this much more time for what is under way (starting or stopping)."""
        self._send(f"EXTEND_TIMEOUT_USEC={int(seconds * 1_000_000)}")

    def close(self) -> None:
        """Closes the socket."""
        if self._socket is not None:
            self._socket.close()
            self._socket = None

    def _send(self, *lines: str) -> None:
        if self._socket is None or self._address is None:
            return
        try:
            self._socket.sendto("\n".join(lines).encode(), self._address)
        except OSError:
            return


def from_environment(environment: Mapping[str, str] = os.environ, *, pid: int | None = None) -> Notifier:
    """The notifier systemd asked for: NOTIFY_SOCKET, and WATCHDOG_USEC if WATCHDOG_PID is this process or unset."""
    watchdog_seconds = None
    watched_pid = environment.get("WATCHDOG_PID", "")
    interval = environment.get("WATCHDOG_USEC", "")
    if interval.isdecimal() and int(interval) > 0 and watched_pid in ("", str(pid or os.getpid())):
        watchdog_seconds = int(interval) / 1_000_000
    return Notifier(environment.get("NOTIFY_SOCKET"), watchdog_seconds)


async def feed_watchdog(notifier: Notifier) -> None:
    """Says twice as often as systemd asks for it that we are alive; for ever, or not at all if it does not ask."""
    if notifier.watchdog_seconds is None:
        return
    while True:
        notifier.watchdog()
        await trio.sleep(notifier.watchdog_seconds / 2)


def _status(text: str) -> str:
    return "STATUS=" + " ".join(text.split())[:_STATUS_LIMIT]
