"""Rooms between people, in one process: an outlet that carries every word into an inbox, and dialogues.

    romeo >> <presence to='verona@r.x/Romeo'><x xmlns='muc'/></presence>     what romeo's client sends
    romeo << <presence from='verona@r.x/Romeo'>…                             what it gets next, and nothing before it

A dialogue is exact: after each `>>`, all that anybody gets is in the lines that follow, each person's in its order.
Left out, since they are checked apart: occupant-ids, and the text of errors. Names are bare local parts, each with one
client "c"; "romeo/2" is another client. Some namespaces are written short: muc, muc#user, disco#info, and stanzas, that
of RFC 6120's error conditions.
"""

import re
from collections.abc import Collection, Sequence
from xml.etree import ElementTree
from xml.etree.ElementTree import Element

from megaphone.rooms.ports import Audience, RoomSettings
from megaphone.rooms.rooms import Rooms
from megaphone.stream.jid import JID
from megaphone.stream.stanza import Stanza, parse
from megaphone.wire.stamp import stamp
from tests.unit.memory_archive import MemoryArchive
from tests.unit.rooms.memory_store import MemoryStore

DOMAIN = "r.x"
ROOM = JID("verona", DOMAIN)
SETTINGS = RoomSettings(secret=b"0123456789abcdef")
START = 1_700_000_000.0
PROTOCOL = "http://jabber.org/protocol/"
_LONG = {"stanzas": "urn:ietf:params:xml:ns:xmpp-stanzas"}
_SHORT = re.compile(r"xmlns='(muc(?:#\w+)?|disco#\w+|stanzas)'")
_LINE = re.compile(r"(\S+) (>>|<<) (.*)", re.DOTALL)


def person(name: str) -> JID:
    """The full JID of one of a person's clients."""
    local, _, resource = name.partition("/")
    return JID(local, "x", resource or "c")


def expand(text: str) -> str:
    return _SHORT.sub(lambda match: f"xmlns='{_LONG.get(match[1], PROTOCOL + match[1])}'", text)


class Town:
    """The outlet, and the rooms that speak through it."""

    def __init__(
        self,
        settings: RoomSettings = SETTINGS,
        store: MemoryStore | None = None,
        archive: MemoryArchive | None = None,
    ) -> None:
        self.inboxes: dict[JID, list[bytes]] = {}
        self.audience: dict[JID, dict[JID, bool]] = {}
        self.listings: list[tuple[str, str, int]] = []
        self.fan_outs = 0
        self.routes = 0
        self.store = store or MemoryStore()
        self.archive = archive or MemoryArchive()
        self.now = START
        self.settings = settings
        self.rooms = self.new_rooms()

    def new_rooms(self) -> Rooms:
        """Rooms that speak through this outlet and know of nobody yet."""
        return Rooms(DOMAIN, self, self.store, self.archive, self.settings, version="1")

    # --- outlet ---

    def route(self, stanza: bytes, to: JID) -> None:
        self.routes += 1
        assert Stanza.read(stanza).to == to
        self.inboxes.setdefault(to, []).append(stamp(stanza, to=None))

    def route_many(self, stanzas: Sequence[bytes], to: JID) -> None:
        for stanza in stanzas:
            assert Stanza.read(stanza).to is None
            self.inboxes.setdefault(to, []).append(stanza)

    def fan_out(
        self, room: JID, stanza: bytes, *, audience: Audience = Audience.ALL, except_: Collection[JID] = ()
    ) -> None:
        self.fan_outs += 1
        assert Stanza.read(stanza).to is None
        for occupant, moderator in self.audience.get(room, {}).items():
            if occupant not in except_ and (audience is Audience.ALL or moderator is (audience is Audience.MODERATORS)):
                self.inboxes.setdefault(occupant, []).append(stanza)

    def occupant_added(self, room: JID, occupant: JID, *, moderator: bool) -> None:
        assert occupant not in self.audience.setdefault(room, {})
        self.audience[room][occupant] = moderator

    def occupant_changed(self, room: JID, occupant: JID, *, moderator: bool) -> None:
        assert occupant in self.audience[room]
        self.audience[room][occupant] = moderator

    def occupant_removed(self, room: JID, occupant: JID) -> None:
        del self.audience[room][occupant]

    def listed(self, room: JID, name: str, occupants: int) -> None:
        self.listings.append((room.local, name, occupants))
        self.rooms.listed(room, name, occupants)

    def unlisted(self, room: JID) -> None:
        self.listings.append((room.local, "", -1))
        self.rooms.unlisted(room)

    # --- people ---

    def say(self, name: str, text: str) -> None:
        """Let a person's client send a stanza."""
        data = stamp(expand(text).encode(), from_=str(person(name)))
        self.rooms.receive(Stanza.read(data), self.now)

    def taken(self, name: str) -> list[Element]:
        """Take what has come for a person's client."""
        return [parse(each) for each in self.inboxes.pop(person(name), [])]

    def enter(self, *names: str, room: str = "verona") -> None:
        """Let people enter a room, with their names as nicks; the first makes it, and opens it."""
        for name in names:
            new = self.rooms.room(JID(room, DOMAIN)) is None
            self.say(name, f"<presence to='{room}@{DOMAIN}/{name.partition('/')[0]}'><x xmlns='muc'/></presence>")
            if new:
                query = f"<query xmlns='muc#owner'>{SUBMIT}/></query>"
                self.say(name, f"<iq to='{room}@{DOMAIN}' type='set' id='open'>{query}</iq>")
        self.inboxes.clear()

    def configure(self, name: str = "romeo", **fields: str | list[str]) -> None:
        """Let an owner configure the room; nobody hears of it."""
        content = ""
        for key, value in fields.items():
            values = [value] if isinstance(value, str) else value
            content += (
                f"<field var='muc#roomconfig_{key}'>{''.join(f'<value>{each}</value>' for each in values)}</field>"
            )
        query = f"<query xmlns='muc#owner'>{SUBMIT}>{content}</x></query>"
        self.say(name, f"<iq to='{ROOM}' type='set' id='f'>{query}</iq>")
        answer = meaning(f"<iq from='{ROOM}' type='result' id='f'/>".encode())
        assert answer in [meaning(each) for each in self.inboxes[person(name)]]
        self.inboxes.clear()

    def admin(self, name: str, items: str) -> str:
        """Let somebody change roles or affiliations; returns the condition that refuses it, or "" if it was done."""
        self.say(name, f"<iq to='{ROOM}' type='set' id='a'><query xmlns='muc#admin'>{items}</query></iq>")
        answers = [each for each in self.taken(name) if each.tag == "{jabber:client}iq"]
        assert len(answers) == 1
        return condition(answers[0])

    def play(self, dialogue: str) -> None:
        """Play a dialogue, and check that it goes exactly so."""
        lines: list[str] = []
        for line in dialogue.splitlines():
            if line.strip() and not line.strip().startswith("#"):
                if _LINE.match(line.strip()):
                    lines.append(line.strip())
                else:
                    lines[-1] += line.strip()
        for line in lines:
            match = _LINE.fullmatch(line)
            assert match is not None
            name, direction, text = match.groups()
            if direction == ">>":
                self.expect_silence(f"before {line}")
                self.say(name, text)
                continue
            inbox = self.inboxes.get(JID("verona", DOMAIN) if name == "list" else person(name), [])
            assert inbox, f"{name} gets nothing where there should be {text}"
            assert meaning(inbox.pop(0)) == meaning(expand(text).encode())
        self.expect_silence("at the end")

    def expect_silence(self, when: str) -> None:
        left = {str(jid): inbox for jid, inbox in self.inboxes.items() if inbox}
        assert not left, f"more has come {when}: {left}"


SUBMIT = "<x xmlns='jabber:x:data' type='submit'"


def condition(stanza: Element) -> str:
    """The error condition of a stanza, "" if it has none."""
    error = stanza.find("{jabber:client}error")
    return "" if error is None else error[0].tag.partition("}")[2]


def meaning(data: bytes) -> str:
    """A stanza as two of them can be compared, without occupant-ids and the text of errors."""
    tree = parse(data)
    for parent in list(tree.iter()):
        for child in list(parent):
            if "occupant-id" in child.tag or child.tag == "{urn:ietf:params:xml:ns:xmpp-stanzas}text":
                parent.remove(child)
    return ElementTree.canonicalize(ElementTree.tostring(tree))
