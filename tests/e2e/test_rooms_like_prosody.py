"""Our rooms beside Prosody's, and as the embedded service serves them: the same script, and what every client gets.

Where XEP-0045 leaves room, clients have met Prosody's answer; a step in which ours differs stands in DIFFERENT with its
reason. What is not compared: identifiers, texts of errors, stamps, and the order of status codes.
"""

import asyncio
import difflib
import os
import subprocess
import sys
from collections.abc import Iterable
from pathlib import Path
from xml.etree import ElementTree as ET

import pytest

from tests.scenarios.light import LightClient
from tests.servers.certificates import CertificateAuthority
from tests.servers.megaphone import START_SECONDS, Node
from tests.servers.model import ACCOUNTS, DOMAIN, ROOMS, Endpoint
from tests.servers.process import LOOPBACK, Process, free_port
from tests.servers.prosody import Prosody
from tests.unit.rooms.town import Town, expand, person

NAMES = ("alice", "bob", "bob/2", "carol")
STANZAS = "urn:ietf:params:xml:ns:xmpp-stanzas"
DISCO = "http://jabber.org/protocol/disco#"
JOIN = "<presence to='verona@r.x/{}'><x xmlns='muc'/></presence>"
ADMIN = "<iq to='verona@r.x' type='set' id='{}'><query xmlns='muc#admin'>{}</query></iq>"
OWNER = "<iq to='verona@r.x' type='set' id='{}'><query xmlns='muc#owner'>{}</query></iq>"
FIELD = "<field var='{}'><value>{}</value></field>"

LEFT_OUT = {
    "{urn:xmpp:occupant-id:0}occupant-id",
    "{urn:xmpp:sid:0}stanza-id",
    f"{{{STANZAS}}}text",
    "{http://jabber.org/protocol/muc}x",  # in our errors, as in those of XEP-0045, but not in Prosody's
    "{vcard-temp:x:update}x",  # Prosody's mod_vcard_legacy puts it into every presence
}


def form(**fields: str) -> str:
    content = FIELD.format("FORM_TYPE", "http://jabber.org/protocol/muc#roomconfig")
    content += "".join(FIELD.format(f"muc#roomconfig_{key}", value) for key, value in fields.items())
    return f"<x xmlns='jabber:x:data' type='submit'>{content}</x>"


SCRIPT = {
    "create": ("alice", JOIN.format("alice")),
    "locked": ("bob", JOIN.format("bob")),
    "open": ("alice", OWNER.format("1", "<x xmlns='jabber:x:data' type='submit'/>")),
    "enter": ("bob", JOIN.format("bob")),
    "conflict": ("carol", JOIN.format("bob")),
    "no nick": ("carol", "<presence to='verona@r.x'><x xmlns='muc'/></presence>"),
    "no x": ("carol", "<presence to='verona@r.x/carol'/>"),
    "same nick": ("bob/2", JOIN.format("bob")),
    "say": ("bob", "<message to='verona@r.x' type='groupchat' id='m'><body>hi</body></message>"),
    "say from outside": ("carol", "<message to='verona@r.x' type='groupchat' id='m'><body>hi</body></message>"),
    "private": ("alice", "<message to='verona@r.x/bob' type='chat' id='p'><body>psst</body></message>"),
    "private to nobody": ("alice", "<message to='verona@r.x/nobody' type='chat' id='p'><body>psst</body></message>"),
    "private from outside": ("carol", "<message to='verona@r.x/bob' type='chat' id='p'><body>psst</body></message>"),
    "groupchat to one": ("alice", "<message to='verona@r.x/bob' type='groupchat' id='p'><body>psst</body></message>"),
    "subject without right": ("bob", "<message to='verona@r.x' type='groupchat' id='s'><subject>S</subject></message>"),
    "subject": ("alice", "<message to='verona@r.x' type='groupchat' id='s'><subject>S</subject></message>"),
    "history": ("carol", JOIN.format("carol")),
    "away": ("carol", "<presence to='verona@r.x/carol'><show>away</show></presence>"),
    "nick": ("carol", "<presence to='verona@r.x/c'/>"),
    "nick of somebody": ("carol", "<presence to='verona@r.x/alice'/>"),
    "leave one of two": ("bob/2", "<presence to='verona@r.x/bob' type='unavailable'/>"),
    "self-ping": ("bob", "<iq to='verona@r.x/bob' type='get' id='q'><ping xmlns='urn:xmpp:ping'/></iq>"),
    "self-ping from outside": ("bob/2", "<iq to='verona@r.x/bob' type='get' id='q'><ping xmlns='urn:xmpp:ping'/></iq>"),
    "ping of nobody": ("bob", "<iq to='verona@r.x/x' type='get' id='q'><ping xmlns='urn:xmpp:ping'/></iq>"),
    "invite": ("bob", "<message to='verona@r.x'><x xmlns='muc#user'><invite to='carol@x'/></x></message>"),
    "moderator": ("alice", ADMIN.format("a", "<item nick='bob' role='moderator'/>")),
    "no moderator": ("alice", ADMIN.format("a", "<item nick='bob' role='participant'/>")),
    "revoke voice": ("alice", ADMIN.format("a", "<item nick='c' role='visitor'/>")),
    "say without voice": ("carol", "<message to='verona@r.x' type='groupchat' id='v'><body>hi</body></message>"),
    "grant voice": ("alice", ADMIN.format("a", "<item nick='c' role='participant'/>")),
    "kick without right": ("bob", ADMIN.format("a", "<item nick='c' role='none'/>")),
    "kick of nobody": ("alice", ADMIN.format("a", "<item nick='nobody' role='none'/>")),
    "kick": ("alice", ADMIN.format("a", "<item nick='c' role='none'><reason>R</reason></item>")),
    "member": ("alice", ADMIN.format("a", "<item jid='bob@x' affiliation='member'/>")),
    "admin": ("alice", ADMIN.format("a", "<item jid='bob@x' affiliation='admin'/>")),
    "admins are owners' affair": ("bob", ADMIN.format("a", "<item jid='carol@x' affiliation='admin'/>")),
    "who is not here": ("bob", ADMIN.format("a", "<item jid='carol@x' affiliation='member'/>")),
    "ban": ("bob", ADMIN.format("a", "<item jid='carol@x' affiliation='outcast'><reason>R</reason></item>")),
    "banned": ("carol", JOIN.format("carol")),
    "list of the banned": ("bob", ADMIN.format("l", "<item affiliation='outcast'/>").replace("'set'", "'get'")),
    "list of owners": ("bob", ADMIN.format("l", "<item affiliation='owner'/>").replace("'set'", "'get'")),
    "last owner": ("alice", ADMIN.format("a", "<item jid='alice@x' affiliation='none'/>")),
    "form by others": ("bob", OWNER.format("f", form(roomname="N"))),
    "members only": ("alice", OWNER.format("f", form(membersonly="1"))),
    "nothing": ("alice", OWNER.format("f", form(membersonly="1"))),
    "unban": ("alice", ADMIN.format("a", "<item jid='carol@x' affiliation='none'/>")),
    "registration required": ("carol", JOIN.format("carol")),
    "non-anonymous": ("alice", OWNER.format("f", form(whois="anyone", membersonly="0"))),
    "enter non-anonymous": ("carol", JOIN.format("carol")),
    "password": ("alice", OWNER.format("f", form(passwordprotectedroom="1", roomsecret="s"))),
    "leave": ("carol", "<presence to='verona@r.x/carol' type='unavailable'><status>bye</status></presence>"),
    "password missing": ("carol", JOIN.format("carol")),
    "ping": ("bob", "<iq to='verona@r.x' type='get' id='q'><ping xmlns='urn:xmpp:ping'/></iq>"),
    "unknown request": ("bob", "<iq to='verona@r.x' type='get' id='q'><query xmlns='urn:unknown'/></iq>"),
    "unknown request of one": ("bob", "<iq to='nowhere@r.x' type='get' id='q'><query xmlns='urn:unknown'/></iq>"),
    "message to no room": ("bob", "<message to='nowhere@r.x' type='groupchat' id='q'><body>b</body></message>"),
    "info of no room": ("bob", f"<iq to='nowhere@r.x' type='get' id='q'><query xmlns='{DISCO}info'/></iq>"),
    "rooms": ("bob", f"<iq to='r.x' type='get' id='q'><query xmlns='{DISCO}items'/></iq>"),
    "ghost": (
        "bob",
        f"<message to='verona@r.x/alice' type='error'><error type='cancel'><gone xmlns='{STANZAS}'/></error></message>",
    ),
    "destroy": ("alice", OWNER.format("d", "<destroy jid='mantua@r.x'><reason>R</reason></destroy>")),
}
SESSIONS = "Prosody names every session of an occupant in an item of its own; XEP-0045 knows one item"
SUBJECT_ID = "Prosody gives the subject's message another id, or none; we promise to keep ids"
ACTOR = "Prosody shows moderators the actor's real JID too; the nick says who it was"
ABSENT = "the role of somebody who is not here is none, as in XEP-0045's examples; a status is for presence"
DIFFERENT = {
    "no nick": "XEP-0045 section 7.2.1 asks for jid-malformed",
    "no x": "as for every stanza of somebody who is not in the room",
    "same nick": SESSIONS,
    "leave one of two": SESSIONS,
    "subject": SUBJECT_ID,
    "history": SUBJECT_ID,
    "enter non-anonymous": SUBJECT_ID,
    "invite": "Prosody adds a body in English; we leave words to clients",
    "moderator": ACTOR + "; who becomes a moderator gets the real JIDs at once",
    "no moderator": ACTOR,
    "revoke voice": ACTOR,
    "grant voice": ACTOR,
    "kick": ACTOR,
    "member": ACTOR,
    "admin": ACTOR + "; who becomes a moderator gets the real JIDs at once",
    "kick without right": "XEP-0045 asks for forbidden where somebody may do nothing of the kind",
    "kick of nobody": "the type that RFC 6120 section 8.3.3.7 gives item-not-found",
    "who is not here": ABSENT,
    "ban": ABSENT,
    "unban": ABSENT,
    "list of the banned": "we keep reasons, as XEP-0045 section 9.2 shows",
    "ping": "XEP-0199: whoever is there answers",
    "unknown request of one": "there is no such room, whatever is asked of it",
    "rooms": "Prosody hides new rooms unless configured otherwise",
    "destroy": "XEP-0045 section 10.9 shows no affiliation any more, and no JID",
    "ghost": "Prosody adds a text in English; the status code says it",
}


def normalised(element: ET.Element, jids: dict[str, str]) -> str:
    """A stanza with our names of people and rooms."""
    element.attrib.pop("to", None)
    for parent in list(element.iter()):
        for child in list(parent):
            if child.tag in LEFT_OUT:
                parent.remove(child)
        parent.attrib.pop("by", None)
        parent.attrib.pop("stamp", None)
        parent.attrib.pop("{http://www.w3.org/XML/1998/namespace}lang", None)
        parent[:] = sorted(parent, key=lambda each: (each.tag.endswith("}status"), each.get("code", "")))
    text = ET.canonicalize(ET.tostring(element, encoding="unicode"), strip_text=True)
    for theirs, ours in jids.items():
        text = text.replace(theirs, ours)
    return text


async def of_server(endpoint: Endpoint, authority: CertificateAuthority) -> dict[str, dict[str, list[str]]]:
    """What every client of a server gets. A step is over when the room has answered everybody once more."""
    accounts = {account.user: account for account in ACCOUNTS}
    clients = {
        name: await LightClient.login(endpoint, accounts[name.split("/")[0]], authority.certificate) for name in NAMES
    }
    jids = {client.jid: str(person(name)) for name, client in clients.items()}
    jids |= {ROOMS: "r.x", f"@{DOMAIN}": "@x"}
    for client in clients.values():
        client.send("<presence/>")
        await client.ping()
    for client in clients.values():
        await client.ping()  # skips the presence of a user's other client
    steps: dict[str, dict[str, list[str]]] = {}
    for step, (name, text) in SCRIPT.items():
        clients[name].send(expand(text).replace("r.x", ROOMS).replace("@x", f"@{DOMAIN}"))
        got: dict[str, list[str]] = {}
        for other in sorted(NAMES, key=lambda each: each != name):
            clients[other].send(f"<iq type='get' id='settle' to='verona@{ROOMS}'><ping xmlns='urn:xmpp:ping'/></iq>")
            # what is asked of the service as a whole may be answered by another worker than the room's
            due = {"settle", "q"} if other == name and text.startswith("<iq to='r.x'") else {"settle"}
            while due:
                element = await clients[other].next()
                if element.get("id") != "settle":
                    got.setdefault(other, []).append(normalised(element, jids))
                due.discard(element.get("id", ""))
        steps[step] = {other: ordered(found) for other, found in got.items()}
    for client in clients.values():
        await client.close()
    return steps


def of_town() -> dict[str, dict[str, list[str]]]:
    town = Town()
    steps: dict[str, dict[str, list[str]]] = {}
    for step, (name, text) in SCRIPT.items():
        town.say(name, text)
        carol = [str(jid) for jid in town.inboxes if jid == person("carol").bare]
        if carol:  # a message to the account
            town.inboxes.setdefault(person("carol"), []).extend(town.inboxes.pop(person("carol").bare))
        got = {other: [normalised(each, {}) for each in town.taken(other)] for other in NAMES}
        steps[step] = {other: ordered(found) for other, found in got.items() if found}
    return steps


def ordered(stanzas: list[str]) -> list[str]:
    """The presences of others, which a new occupant gets first, by name: Prosody keeps them in no order."""
    first = next((index for index, each in enumerate(stanzas) if "110" in each or "presence" not in each), 0)
    return sorted(stanzas[:first]) + stanzas[first:]


def described(steps: dict[str, list[str]]) -> Iterable[str]:
    for name in sorted(steps):
        for stanza in steps[name]:
            yield f"{name} << {stanza}"


def differences(theirs: dict[str, dict[str, list[str]]], ours: dict[str, dict[str, list[str]]]) -> set[str]:
    """The steps in which somebody gets something else; what it is, is printed."""
    different = {step for step in SCRIPT if theirs[step] != ours[step]}
    for step in sorted(different, key=list(SCRIPT).index):
        print(f"\n=== {step}: {SCRIPT[step][0]} >> {SCRIPT[step][1]}")
        print(*difflib.ndiff(list(described(theirs[step])), list(described(ours[step]))), sep="\n")
    return different


def test_like_prosody(prosody_behind_edge: Prosody, authority: CertificateAuthority) -> None:
    theirs = asyncio.run(of_server(prosody_behind_edge.plain, authority))
    assert differences(theirs, of_town()) == set(DIFFERENT), "see what was printed"


class Service(Node):
    """Megaphone with nothing behind it."""

    def __init__(self, directory: Path, authority: CertificateAuthority, workers: int) -> None:
        super().__init__(directory, "megaphone")
        self.direct = Endpoint(LOOPBACK, free_port(), "direct")
        self.admin_port = free_port()
        files = authority.issue(DOMAIN)
        self.tables = {
            "node": {"workers": workers},
            "listen": [{"address": f"{LOOPBACK}:{self.direct.port}", "tls": "direct"}],
            "certificate": [{"chain": str(files.chain), "key": str(files.key)}],
            "domain": [{"name": DOMAIN}],
            "service": {"data": str(directory / "data")},
            "rooms": {"domain": ROOMS},
            "admin": {"address": f"{LOOPBACK}:{self.admin_port}", "socket": str(self.admin_socket)},
        }

    def start(self) -> None:
        self.write_config()
        for account in ACCOUNTS:
            if account.domain == DOMAIN:
                add = [sys.executable, "-m", "megaphone", "user", "-c", str(self.config_path), "add"]
                add += ["--password-file", "-", account.jid]
                subprocess.run(add, input=account.password.encode(), check=True, capture_output=True)
        command = [sys.executable, "-m", "megaphone", "serve", "--config", str(self.config_path)]
        self._process = Process(command, directory=Path.cwd(), log=self.log, environment=os.environ)
        self._process.wait_until(self.ready, "megaphone", START_SECONDS)


@pytest.mark.parametrize("workers", [1, 3])
def test_served_as_in_the_core(workers: int, authority: CertificateAuthority, tmp_path: Path) -> None:
    """Real clients of the embedded service get what the core says, wherever users and rooms are at home."""
    service = Service(tmp_path, authority, workers)
    try:
        service.start()
        served = asyncio.run(of_server(service.direct, authority))
    finally:
        service.stop()
    assert differences(served, of_town()) == set(), "see what was printed"
