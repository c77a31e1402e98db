"""Listening sockets: each configured address once per worker with SO_REUSEPORT, kept open over crashes.

The kernel spreads new connections over the sockets of one address. The supervisor never accepts; it keeps its copy of
each socket, so that the queue of a crashed worker waits for the successor instead of being refused.
"""

import errno
import os
import socket
from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass
from typing import Final

from megaphone.config.schema import Listen
from megaphone.errors import ConfigError
from megaphone.sockets.endpoint import Endpoint, parse_address
from megaphone.supervisor.control_socket import ControlSocket, open_control_socket
from megaphone.supervisor.state import Duplicate, ListeningState
from megaphone.supervisor.steering import steer_away

UNIX_MODE: Final = 0o660  # the directory says who may come near; the link's secret says who is heard

_REASONS: Final = {
    errno.EADDRINUSE: "the address is already in use by another program (or another Megaphone)",
    errno.EADDRNOTAVAIL: "this machine does not have that address",
    errno.EACCES: "not permitted: ports below 1024 need root or CAP_NET_BIND_SERVICE",
    errno.EAFNOSUPPORT: "this machine does not speak that address family (IPv6 switched off?)",
    errno.EMFILE: "too many open files: raise the limit (LimitNOFILE= or ulimit -n)",
}


@dataclass(frozen=True, slots=True)
class Bound:
    """One socket address that is open, and its listening sockets in the order of the workers."""

    listen_index: int
    address: str  # as it can be connected to, with the real port: "127.0.0.1:5222", "[::1]:5222", "unix:/path"
    sockets: tuple[socket.socket, ...]
    unix: ControlSocket | None = None  # whose file is to be removed

    def close(self, *, keep_file: bool = False) -> None:
        """Closes our copies of the sockets, and removes the file of a Unix socket unless somebody goes on with it."""
        for listening in self.sockets:
            listening.close()
        if self.unix is not None:
            self.unix.close(keep_file=keep_file)

    def state(self, duplicate: Duplicate) -> ListeningState:
        """What another program of this process goes on with."""
        fds = [duplicate(each.fileno()) for each in self.sockets]
        path = None if self.unix is None else self.unix.path
        return ListeningState(listen_index=self.listen_index, address=self.address, fds=fds, path=path)


def adopt(state: ListeningState) -> Bound:
    """The sockets of one address that another program of this process has opened."""
    sockets = tuple(socket.socket(fileno=descriptor) for descriptor in state.fds)
    for listening in sockets:
        listening.setblocking(False)
    unix = None if state.path is None else ControlSocket(state.path, sockets[0])
    return Bound(state.listen_index, state.address, sockets, unix)


class Listeners:
    """The listening sockets of the whole node."""

    def __init__(self, bound: Sequence[Bound]) -> None:
        self.bound = tuple(bound)

    def of_worker(self, index: int) -> list[tuple[int, int]]:
        """`(listen index, descriptor)` of each socket of this worker; one listen index may have several."""
        return [(bound.listen_index, bound.sockets[index].fileno()) for bound in self.bound]

    def steer_away(self, excluded: Collection[int]) -> None:
        """New connections go to the other workers; where the kernel cannot steer, some wait for these ones."""
        for bound in self.bound:
            steer_away(bound.sockets, excluded)

    def close(self, *, keep_files: bool = False) -> None:
        """Closes the supervisor's copies; addresses stay open as long as a worker still holds its own."""
        for bound in self.bound:
            bound.close(keep_file=keep_files)


def open_listeners(listen: Sequence[Listen], *, workers: int, file: str) -> Listeners:
    """Binds every `[[listen]]` once per worker; ConfigError names file, key and reason of the first that cannot be."""
    bound: list[Bound] = []
    try:
        for index, entry in enumerate(listen):
            key = f"listen[{index}].address"
            bound += open_address(
                entry.address, key=key, file=file, count=workers, backlog=entry.backlog, listen_index=index
            )
    except BaseException:
        Listeners(bound).close()
        raise
    return Listeners(bound)


def open_address(
    address: str, *, key: str, file: str, count: int, backlog: int, listen_index: int = 0
) -> tuple[Bound, ...]:
    """Opens `count` sockets on each address the text stands for: one, or several when it is a name.

    Port 0 takes a free port, the same one for all `count` sockets; a Unix socket is for one worker. ConfigError says
    why an address cannot be opened.
    """
    try:
        endpoint = parse_address(address)
        if endpoint.path is not None:
            unix = open_control_socket(endpoint.path, file=file, key=key, mode=UNIX_MODE, backlog=backlog)
            return (Bound(listen_index, str(endpoint), (unix.listening,), unix),)
        targets = _resolve(endpoint.host, endpoint.port)
    except (ValueError, OSError) as error:
        raise ConfigError(file, key, f'cannot listen on "{address}": {error}') from None
    bound: list[Bound] = []
    for family, sockaddr in targets:
        try:
            opened = _open_sockets(family, sockaddr, count=count, backlog=backlog)
        except OSError as error:
            Listeners(bound).close()
            reason = _REASONS.get(error.errno or 0) or os.strerror(error.errno or 0)
            where = str(Endpoint(*sockaddr[:2]))
            raise ConfigError(file, key, f"cannot listen on {where}: {reason}") from None
        bound.append(Bound(listen_index, str(Endpoint(*opened[0].getsockname()[:2])), opened))
    return tuple(bound)


Target = tuple[socket.AddressFamily, tuple[str, int] | tuple[str, int, int, int]]


def _resolve(host: str, port: int) -> list[Target]:
    """Every address of the name; no name is every interface, of both families if the machine has both."""
    if not host:
        families: Iterable[Target] = [(socket.AF_INET, ("0.0.0.0", port)), (socket.AF_INET6, ("::", port, 0, 0))]  # noqa: S104
        return [target for target in families if target[0] == socket.AF_INET or _has_ipv6()]
    found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)
    targets: list[Target] = []
    for family, _, _, _, sockaddr in found:
        if family in (socket.AF_INET, socket.AF_INET6) and (family, sockaddr) not in targets:
            targets.append((family, sockaddr))  # type: ignore[arg-type]  # the two families have these two shapes
    return targets


def _has_ipv6() -> bool:
    try:
        with socket.socket(socket.AF_INET6) as probe:
            probe.bind(("::1", 0))
    except OSError:
        return False
    return True


def _open_sockets(
    family: socket.AddressFamily, sockaddr: tuple[str, int] | tuple[str, int, int, int], *, count: int, backlog: int
) -> tuple[socket.socket, ...]:
    """`count` listening sockets on one address."""
    if sockaddr[1]:
        # SO_REUSEPORT would silently share the port with another process of the same user, for example with a second
        # Megaphone started by mistake. Without it the kernel tells us.
        with _socket(family) as probe:
            probe.bind(sockaddr)
    opened: list[socket.socket] = []
    try:
        for _ in range(count):
            listening = _socket(family)
            opened.append(listening)
            listening.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
            listening.bind(sockaddr)
            sockaddr = listening.getsockname()  # the port the kernel chose, when we asked for port 0
        for listening in opened:
            listening.listen(backlog)
            listening.setblocking(False)
    except BaseException:
        for listening in opened:
            listening.close()
        raise
    return tuple(opened)


def _socket(family: socket.AddressFamily) -> socket.socket:
    created = socket.socket(family, socket.SOCK_STREAM)
    created.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    if family == socket.AF_INET6:
        created.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
    return created
