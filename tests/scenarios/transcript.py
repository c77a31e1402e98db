"""What happened in a scripted session, freed from everything that differs between two equal runs.

Each client's stream is kept as three lists per step of the script: elements out, elements in, events. Two runs of the
same script against the same server differ only in

* identifiers, which become `1.1`, `1.2` ... (step and order of appearance), so that an answer must still carry the
  identifier of its question; the same for resources that the server chose;
* times, nonces, signatures, roster versions, and identifiers and number of archived messages, which become `*`;
* the order of elements that come from different senders: XMPP orders stanzas between two entities only (RFC 6120 10.1),
  so within a step the incoming elements are sorted by sender, each sender's own order kept;
* the order of features, mechanisms and the like (see UNORDERED), which means nothing and in Prosody changes with each
  start of the process: they are sorted;
* acknowledgements (XEP-0198 `<r/>` and `<a/>`): when a server asks is a matter of timing. The counters in `<resume/>`
  and `<resumed/>` stay and show that nothing was lost.
"""

import base64
import binascii
import difflib
import re
from dataclasses import dataclass, field
from xml.etree import ElementTree as ET
from xml.sax.saxutils import escape, quoteattr

STREAM = "http://etherx.jabber.org/streams"
SASL = "urn:ietf:params:xml:ns:xmpp-sasl"
SM = "urn:xmpp:sm:3"
RSM = "http://jabber.org/protocol/rsm"
XML_PREFIX = "{http://www.w3.org/XML/1998/namespace}"
DELAY = "{urn:xmpp:delay}delay"

ID_ATTRIBUTES = {"id", "previd", "queryid"}
ROSTER_QUERY = "{jabber:iq:roster}query"
VARYING_ATTRIBUTES = {"stamp", "index"}
# In ejabberd an archive identifier is a time in microseconds: two messages in two archives may have the same one.
ARCHIVED = {"{urn:xmpp:sid:0}stanza-id", "{urn:xmpp:mam:tmp}archived", "{urn:xmpp:mam:2}result"}
VARYING_TEXTS = {"{urn:xmpp:time}utc", *(f"{{{RSM}}}{name}" for name in ("first", "last", "count"))}
STANZAS = {f"{{jabber:client}}{name}" for name in ("iq", "message", "presence")}
UNORDERED = {
    f"{{{STREAM}}}features",
    f"{{{SASL}}}mechanisms",
    f"{{{RSM}}}set",
    "{http://jabber.org/protocol/disco#info}query",
    "{http://jabber.org/protocol/disco#items}query",
}
SETTLING = "settle-"  # how the identifiers of pings begin that the script sends only to wait; they are left out
ACKNOWLEDGEMENTS = {f"{{{SM}}}r", f"{{{SM}}}a"}
SASL_SECRET = re.compile(r"(?<=,)([rspv]=)[^,]*|^([rspv]=)[^,]*")


@dataclass(frozen=True, slots=True)
class Entry:
    """One thing a client sent, received or noticed; `element` is None for events."""

    step: str
    client: str
    direction: str  # "out", "in" or "event"
    element: ET.Element | None = None
    event: str = ""


@dataclass
class Transcript:
    """All entries of one run in the order they happened."""

    entries: list[Entry] = field(default_factory=list)
    steps: list[str] = field(default_factory=list)
    chosen: dict[str, str] = field(default_factory=dict)  # resource chosen by the server -> its name in the transcript
    undelayed: set[str] = field(default_factory=set)  # steps whose <delay/> elements are left out

    def begin(self, step: str, *, undelayed: bool = False) -> None:
        """Start a step. With `undelayed`, <delay/> is ignored in it: whether the server stamps it is a race there."""
        self.steps.append(step)
        if undelayed:
            self.undelayed.add(step)

    def lines(self) -> list[str]:
        """The normalised transcript, one line per element or event."""
        writer = _Writer(self.chosen)
        result = []
        for number, step in enumerate(self.steps, start=1):
            writer.begin(number)
            result.append(f"== {step}")
            mine = [entry for entry in self.entries if entry.step == step and not _is_left_out(entry)]
            for client in sorted({entry.client for entry in mine}):
                for direction, arrow in (("out", "->"), ("in", "<-"), ("event", "**")):
                    part = [e for e in mine if e.client == client and e.direction == direction]
                    if direction == "in":
                        part.sort(key=writer.sender)  # stable: each sender's own order stays
                    for entry in part:
                        text = entry.event
                        if entry.element is not None:
                            text = writer.write(entry.element, without_delay=step in self.undelayed)
                        result.append(f"{client} {arrow} {text}")
        return result


def differences(first: Transcript, second: Transcript, names: tuple[str, str] = ("direct", "edge")) -> str:
    """A unified diff of two transcripts; empty if they are equal."""
    return "\n".join(difflib.unified_diff(first.lines(), second.lines(), *names, n=1, lineterm=""))


def _is_left_out(entry: Entry) -> bool:
    element = entry.element
    return element is not None and (element.tag in ACKNOWLEDGEMENTS or element.get("id", "").startswith(SETTLING))


class _Writer:
    """Writes elements with their random parts replaced, remembering identifiers over a whole transcript."""

    def __init__(self, chosen: dict[str, str]) -> None:
        self._chosen = chosen
        self._ids: dict[str, str] = {}
        self._step = 0
        self._new = 0

    def begin(self, step: int) -> None:
        self._step, self._new = step, 0

    def sender(self, entry: Entry) -> str:
        if entry.element is None or entry.element.tag not in STANZAS:
            return ""
        return self._plain(entry.element.get("from", ""))

    def write(self, element: ET.Element, *, without_delay: bool, namespace: str = "") -> str:
        own, _, name = element.tag[1:].rpartition("}") if element.tag[0] == "{" else ("", "", element.tag)
        parts = [name]
        if own != namespace:
            parts.append(f"xmlns={quoteattr(own)}")
        for key in sorted(element.attrib):
            parts.append(f"{key.replace(XML_PREFIX, 'xml:')}={quoteattr(self._value(element, key))}")
        children = [child for child in element if not (without_delay and child.tag == DELAY)]
        inside = escape(self._text(element, own))
        written = [
            self.write(child, without_delay=without_delay, namespace=own) + escape(child.tail or "")
            for child in children
        ]
        inside += "".join(sorted(written) if element.tag in UNORDERED else written)
        start = " ".join(parts)
        return f"<{start}>{inside}</{name}>" if inside else f"<{start}/>"

    def _identifier(self, value: str) -> str:
        if value not in self._ids:
            self._new += 1
            self._ids[value] = f"{self._step}.{self._new}"
        return self._ids[value]

    def _value(self, element: ET.Element, key: str) -> str:
        value = element.attrib[key]
        if (
            key in VARYING_ATTRIBUTES
            or (key == "id" and element.tag in ARCHIVED)
            or (key == "ver" and element.tag == ROSTER_QUERY)
        ):
            return "*"
        if key in ID_ATTRIBUTES:
            return self._identifier(value)
        return self._plain(value)

    def _plain(self, value: str) -> str:
        for resource, name in self._chosen.items():
            value = value.replace(resource, name)
        return value

    def _text(self, element: ET.Element, namespace: str) -> str:
        text = element.text or ""
        if element.tag in VARYING_TEXTS:
            return "*"
        if namespace == SASL and text.strip() and not element.tag.endswith("}mechanism"):
            return _without_secrets(text)
        return self._plain(text)


def _without_secrets(text: str) -> str:
    """A SCRAM message (RFC 5802 7) in clear, its nonces, salts, proofs and signatures replaced by `*`."""
    try:
        clear = base64.b64decode(text, validate=True).decode()
    except (binascii.Error, UnicodeDecodeError):
        return text
    return SASL_SECRET.sub(lambda match: (match[1] or match[2]) + "*", clear)
