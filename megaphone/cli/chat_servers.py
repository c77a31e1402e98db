"""The servers a chat can use: the list as it was typed, and which one to try next and when. No I/O."""

from collections.abc import Callable, Iterable
from typing import Final

from megaphone.sockets.endpoint import Endpoint, parse_address

SERVERS_LIMIT: Final = 32
DELAY_LIMIT_SECONDS: Final = 30.0


def parse_servers(texts: Iterable[str], default_port: int) -> list[Endpoint]:
    """The endpoints of "HOST", "HOST:PORT", "[V6]:PORT" and comma-separated lists of them, each once.

    ValueError says what is wrong with the list.
    """
    found: dict[Endpoint, None] = {}
    for text in (each.strip() for argument in texts for each in argument.split(",")):
        if not text:
            raise ValueError("a server has no name")
        bare = text.endswith("]") or ":" not in text
        endpoint = parse_address(f"{text}:{default_port}" if bare else text)
        if endpoint.path is not None or not endpoint.host or not endpoint.port:
            raise ValueError(f'"{text}" is no HOST or HOST:PORT')
        found[endpoint] = None
    if len(found) > SERVERS_LIMIT:
        raise ValueError(f"there are more than {SERVERS_LIMIT} servers")
    return list(found)


class Rotation:
    """Goes around the list: one round at once, then with growing pauses (1, 2, 4 … 30 s, each shortened by chance).

    `chance` gives numbers from 0 to 1, so that many clients that lost one server do not come back all at once.
    """

    def __init__(self, servers: list[Endpoint], chance: Callable[[], float]) -> None:
        self.servers = servers
        self.current = servers[0]
        self.failures = 0  # since one server last served us well
        self._chance = chance
        self._preferred: Endpoint | None = None

    def prefer(self, host: str) -> None:
        """The server that refused us named another one (see-other-host): take it next, if it is of the list."""
        wanted = [each for each in self.servers if host in (str(each), each.host)]
        self._preferred = wanted[0] if wanted else None

    def served_well(self) -> None:
        """The current server held the connection for long enough not to be a trap."""
        self.failures = 0

    def failed(self) -> float:
        """The current server failed: go on to the next one; returns how many seconds to wait before."""
        self.failures += 1
        if self._preferred is not None:
            self.current, self._preferred = self._preferred, None
        else:
            self.current = self.servers[(self.servers.index(self.current) + 1) % len(self.servers)]
        rounds = self.failures // len(self.servers)
        if rounds == 0:
            return 0.0
        return min(DELAY_LIMIT_SECONDS, 2.0 ** min(rounds - 1, 10)) * (0.5 + 0.5 * self._chance())
