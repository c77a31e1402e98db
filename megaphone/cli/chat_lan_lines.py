"""The lines of a chat on the LAN: what was said, and what happens among the peers; safe for a terminal."""

from typing import Final

from megaphone.cli.chat_text import NICK_LIMIT, readable, readable_lines
from megaphone.history.entry import Origin
from megaphone.peers.events import Connected, EntriesRefused, Event, Lost, NewPeer, PeerRefused, RefusedByPeer, Trouble
from megaphone.peers.hello import Reason
from megaphone.peers.names import fingerprint, short_fingerprint
from megaphone.peers.pins import Pins
from megaphone.peers.room import Line

# A name must not look like the end of its own brackets, or say that it is verified or not.
_BRACKETS: Final = str.maketrans({each: f"\\u{ord(each):04x}" for each in "<>()"})

_WHY_REFUSED: Final = {
    Reason.VERSION: "it speaks another version",
    Reason.KEY_CHANGED: "it knows your name with another key",
    Reason.TOO_MANY_NAMES: "your key has come with too many names",
    Reason.FULL: "it has as many peers as it takes",
}


def said(line: Line, channel: str, pins: Pins) -> list[str]:
    """The lines of something said: `ISO8601 #channel <nick> text`; the nick tells if the key is not the name's."""
    start = f"{line.time} #{readable(channel)} <{_author(line.author, line.origin, pins)}> "
    return [start + text for text in readable_lines(line.text)]


def _author(name: str, key: Origin, pins: Pins) -> str:
    shown = _name(name)
    return shown if pins.is_pinned(name, key) else f"{shown} (unverified {short_fingerprint(key)})"


def _name(name: str) -> str:
    shown = readable(name).translate(_BRACKETS)
    return shown if len(shown) <= NICK_LIMIT else shown[: NICK_LIMIT - 1] + "…"


def info(text: str) -> list[str]:
    """The line of something worth knowing."""
    return [f"info> {text}"]


def happened(event: Event) -> list[str]:
    """The lines of what happens among the peers."""
    match event:
        case NewPeer(name, key):
            return info(f"new peer {_name(name)}, key {fingerprint(key)}")
        case Connected(name, key):
            return info(f"direct connection to {_name(name)}, key {short_fingerprint(key)}")
        case Lost(name, _, reason):
            return info(f"{_name(name)} {readable(reason)}")
        case PeerRefused():
            return _refused(event)
        case RefusedByPeer(host, reason):
            why = next((words for each, words in _WHY_REFUSED.items() if each == reason), readable(reason))
            return [f"warning> the peer at {readable(host)} refuses us: {why}"]
        case EntriesRefused(origin, refusal):
            return [f"warning> what {short_fingerprint(origin)} has signed is not taken: {refusal}"]
        case Trouble(text):
            return [f"warning> {readable(text)}"]


def _refused(event: PeerRefused) -> list[str]:
    name, host = _name(event.name), readable(event.host)
    if event.reason is not Reason.KEY_CHANGED or event.known is None:
        return [f"warning> {name} at {host} is refused: {event.reason.value}, key {fingerprint(event.key)}"]
    return [
        f"warning> THE KEY OF {name} HAS CHANGED; {name} at {host} is refused",
        f"warning>   known key: {fingerprint(event.known)}",
        f"warning>   shown key: {fingerprint(event.key)}",
        "warning>   Somebody else may be using the name. If the new key is right, start again with "
        f"--trust {_name(event.name)!r}.",
    ]
