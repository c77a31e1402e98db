"""People in a room over several nodes: they say numbered lines, and know what was acknowledged and what they heard."""

import asyncio
import re
from collections.abc import Callable, Sequence

from tests.adversity.embedded_line import attribute
from tests.adversity.embedded_talker import Talker, body, kind_of
from tests.servers.model import ROOMS

_STANZA_ID = re.compile(rb"""<stanza-id [^>]*?\bid=['"]([^'"]+)['"]""")
_NUMBERED = re.compile(r"(\w+) (\d+)")
PAUSE_SECONDS = 0.02
ASK_EVERY = 5
DELAY = b"urn:xmpp:delay"


def stanza_id(element: bytes) -> str:
    """The id that the room has given to a message (XEP-0359); "" if there is none."""
    found = _STANZA_ID.search(element)
    return "" if found is None else found[1].decode()


class Chronicler(Talker):
    """Says numbered lines in a room, with stream management."""

    def __init__(self, user: str) -> None:
        super().__init__(user)
        self.said = 0
        self._sent: list[str] = []  # of each stanza of this stream its line, "" for others
        self._safe: set[str] = set()

    def send(self, xml: str) -> None:
        """Send, and count stanzas as XEP-0198 does."""
        if xml.startswith(("<message", "<presence", "<iq")):
            line = body(xml.encode())
            self._sent.append(line if _NUMBERED.fullmatch(line) else "")
        super().send(xml)

    def opened(self, line: object, resumed: bool) -> None:
        """A stream begins: its stanzas are counted anew."""
        if not resumed:
            self._safe |= self.acknowledged()
            self._sent.clear()
        super().opened(line, resumed)  # type: ignore[arg-type]

    def heard(self, line: object, element: bytes) -> None:
        """Keep it."""
        if element.startswith(b"<a "):
            count = int(attribute(element, "h") or 0)
            self._safe |= {each for each in self._sent[:count] if each}
        elif element.startswith(b"<r "):
            super().send(f"<a xmlns='urn:xmpp:sm:3' h='{self.count}'/>")
        super().heard(line, element)  # type: ignore[arg-type]

    def acknowledged(self) -> set[str]:
        """The lines that the server has taken, whatever happens to it."""
        return set(self._safe)

    def say_next(self, room: str) -> str:
        """Say the next line."""
        line = f"{self.user} {self.said}"
        self.said += 1
        self.say(f"{room}@{ROOMS}", line, "groupchat")
        if self.said % ASK_EVERY == 0:
            self.send("<r xmlns='urn:xmpp:sm:3'/>")
        return line

    async def talk(self, room: str, until_set: asyncio.Event, pause_seconds: float = PAUSE_SECONDS) -> None:
        """Say lines until told to stop, or the connection is lost."""
        while not until_set.is_set() and not self.lost:
            self.say_next(room)
            await asyncio.sleep(pause_seconds)

    async def all_acknowledged(self) -> None:
        """Wait until everything that was said is acknowledged."""
        wanted = {line for line in self._sent if line}
        self.send("<r xmlns='urn:xmpp:sm:3'/>")
        await self.until(lambda: wanted <= self._safe, "all lines are acknowledged")

    def lines_heard(self, room: str) -> list[tuple[str, str, bool]]:
        """Text, id and whether it is from before, of each message of a room that has come, in order."""
        messages = [
            each
            for each in self.elements
            if kind_of(each) == "message" and (attribute(each, "from") or "").startswith(f"{room}@{ROOMS}/")
        ]
        return [(body(each), stanza_id(each), DELAY in each) for each in messages if body(each)]

    async def hear_all(self, room: str, lines: Sequence[str], timeout_seconds: float = 30.0) -> None:
        """Wait until all these lines have come."""

        def missing() -> set[str]:
            return set(lines) - {text for text, _, _ in self.lines_heard(room)}

        try:
            await self.until(lambda: not missing(), "lines", timeout_seconds)
        except TimeoutError:
            raise AssertionError(f"{self.user} has not heard {sorted(missing())[:20]}") from None


async def enter_as(talker: Talker, room: str, nick: str) -> bytes:
    """Enter under this nick; our own presence there."""
    talker.send(f"<presence to='{room}@{ROOMS}/{nick}'><x xmlns='http://jabber.org/protocol/muc'/></presence>")
    own = await talker.hear(
        lambda each: kind_of(each) == "presence" and (b"code='110'" in each or attribute(each, "type") == "error"),
        f"in {room} as {nick}",
    )
    assert attribute(own, "type") is None, own
    return own


def assert_each_in_order(lines: Sequence[str]) -> None:
    """First in, first out: the numbered lines of everybody rise, none is there twice."""
    last: dict[str, int] = {}
    for found in map(_NUMBERED.fullmatch, lines):
        assert found is not None
        assert int(found[2]) > last.get(found[1], -1), found[0]
        last[found[1]] = int(found[2])


async def until(condition: Callable[[], bool], what: str, timeout_seconds: float = 30.0) -> None:
    """Wait until this holds."""
    try:
        async with asyncio.timeout(timeout_seconds):
            while not await asyncio.to_thread(condition):
                await asyncio.sleep(0.05)
    except TimeoutError:
        raise AssertionError(f"not within {timeout_seconds:g} s: {what}") from None
