"""What happens in a chat, and the lines that tell it; every text in them is safe for a terminal."""

from dataclasses import dataclass

from megaphone.cli.chat_text import readable, readable_lines, readable_nick

NAMES_LIMIT = 12  # of those who are there already, in the line about them


@dataclass(frozen=True, slots=True)
class Joined:
    """Somebody, or we, came into the room."""

    nick: str

    def lines(self) -> list[str]:
        """As they are shown."""
        return [f"[JOIN] {readable_nick(self.nick)} joined the chat"]


@dataclass(frozen=True, slots=True)
class Left:
    """Somebody, or we, went; `why` is "" for who went by themselves."""

    nick: str
    why: str = ""

    def lines(self) -> list[str]:
        """As they are shown."""
        why = f" ({readable(self.why)})" if self.why else ""
        return [f"[LEAVE] {readable_nick(self.nick)} left the chat{why}"]


@dataclass(frozen=True, slots=True)
class Renamed:
    """Somebody, or we, took another nick."""

    nick: str
    new_nick: str

    def lines(self) -> list[str]:
        """As they are shown."""
        return [f"[NICK] {readable_nick(self.nick)} is now {readable_nick(self.new_nick)}"]


@dataclass(frozen=True, slots=True)
class Said:
    """A message; `stamp` is the time of one from the history (XEP-0082), `private` one to us alone."""

    nick: str
    text: str
    mine: bool = False
    stamp: str | None = None
    private: bool = False

    def lines(self) -> list[str]:
        """As they are shown: each line of the text with its author, so that no line can feign another one."""
        who = readable_nick(self.nick) + (" to you" if self.private else "")
        return [f"[{who}] {line}" for line in readable_lines(self.text)]


@dataclass(frozen=True, slots=True)
class SubjectChanged:
    """The room's subject; `nick` is "" when the room tells it."""

    nick: str
    subject: str

    def lines(self) -> list[str]:
        """As they are shown."""
        who = f"{readable_nick(self.nick)}: " if self.nick else ""
        return [f"[SUBJECT] {who}{readable(' '.join(self.subject.split()))}"]


@dataclass(frozen=True, slots=True)
class Present:
    """Who was in the room when we came."""

    nicks: tuple[str, ...]

    def lines(self) -> list[str]:
        """As they are shown."""
        shown = ", ".join(readable_nick(nick) for nick in self.nicks[:NAMES_LIMIT])
        rest = len(self.nicks) - NAMES_LIMIT
        return [f"[ROOM] here: {shown}" + (f" and {rest} more" if rest > 0 else "")]


@dataclass(frozen=True, slots=True)
class RoomSaid:
    """What the room itself tells, or we tell about it."""

    text: str

    def lines(self) -> list[str]:
        """As they are shown."""
        return [f"[ROOM] {line}" for line in readable_lines(self.text)]


@dataclass(frozen=True, slots=True)
class ServerChanged:
    """What became of the connection."""

    text: str

    def lines(self) -> list[str]:
        """As they are shown."""
        return [f"[SERVER] {readable(self.text)}"]


@dataclass(frozen=True, slots=True)
class ServersUpdated:
    """Which servers of the cluster are there now."""

    names: tuple[str, ...]

    def lines(self) -> list[str]:
        """As they are shown."""
        return [f"[SERVER UPDATE] {', '.join(readable(name) for name in self.names)}"]


@dataclass(frozen=True, slots=True)
class NotSent:
    """A line of ours that nobody will see."""

    text: str
    why: str

    def lines(self) -> list[str]:
        """As they are shown."""
        start = self.text if len(self.text) <= 40 else f"{self.text[:39]}…"
        return [f"[ERROR] not sent: {readable(start)}: {readable(self.why)}"]


Event = Joined | Left | Renamed | Said | SubjectChanged | Present | RoomSaid | ServerChanged | ServersUpdated | NotSent
