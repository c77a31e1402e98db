"""Differences between two servers' transcripts of the same script that are allowed, each with its reason.

A transcript is compared element for element; what two correct servers may do differently is taken out of a copy of it
first, rule by rule. A rule says why it is one; one that no longer changes anything should go.
"""

import copy
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from xml.etree import ElementTree as ET

from tests.scenarios.transcript import SM, STANZAS, STREAM, Entry, Transcript

LANG = "{http://www.w3.org/XML/1998/namespace}lang"
MESSAGE, PRESENCE, IQ = (f"{{jabber:client}}{name}" for name in ("message", "presence", "iq"))
ROSTER = "{jabber:iq:roster}query"
SASL = "{urn:ietf:params:xml:ns:xmpp-sasl}"
DISCO_INFO = "{http://jabber.org/protocol/disco#info}query"
DISCO_ITEMS = "{http://jabber.org/protocol/disco#items}query"
MUC_USER = "{http://jabber.org/protocol/muc#user}x"
ROOM = "lobby@rooms.example.test"

Rule = Callable[[Entry, ET.Element, str], bool]


@dataclass(frozen=True, slots=True)
class Allowed:
    """One allowed difference. `apply(entry, element, own)` changes the element, and says whether it stays.

    `own` is the full JID of the client. `element` is the entry's, an incoming or outgoing one.
    """

    reason: str
    apply: Rule


def _stanzas(element: ET.Element) -> Iterator[ET.Element]:
    """The element, and the stanzas that it forwards."""
    return (each for each in element.iter() if each.tag in STANZAS)


def _no_children(element: ET.Element, *tags: str) -> None:
    for parent in element.iter():
        for child in [each for each in parent if each.tag in tags]:
            parent.remove(child)


def _language(entry: Entry, element: ET.Element, own: str) -> bool:
    if entry.direction == "in":
        for stanza in _stanzas(element):
            stanza.attrib.pop(LANG, None)
    return True


def _archive_ids(entry: Entry, element: ET.Element, own: str) -> bool:
    for stanza in _stanzas(element):
        for mark in stanza.findall("{urn:xmpp:sid:0}stanza-id"):
            if mark.get("by") != ROOM:
                stanza.remove(mark)
    return True


def _presence_ids(entry: Entry, element: ET.Element, own: str) -> bool:
    if element.tag == PRESENCE and element.get("type") in (None, "unavailable"):
        element.attrib.pop("id", None)
    return True


def _own_address(entry: Entry, element: ET.Element, own: str) -> bool:
    if entry.direction == "in" and element.tag in STANZAS and element.get("to") == own:
        del element.attrib["to"]
    return True


def _own_account(entry: Entry, element: ET.Element, own: str) -> bool:
    if entry.direction == "in" and element.tag == IQ and element.get("from") == own.partition("/")[0]:
        del element.attrib["from"]
    return True


def _photo(entry: Entry, element: ET.Element, own: str) -> bool:
    _no_children(element, "{vcard-temp:x:update}x")
    return True


def _delay_of_presence(entry: Entry, element: ET.Element, own: str) -> bool:
    if element.tag == PRESENCE:
        _no_children(element, "{urn:xmpp:delay}delay")
    return True


def _push_ids(entry: Entry, element: ET.Element, own: str) -> bool:
    """A push, and what slixmpp answers to it (an empty roster): in both servers its answer carries the push's id."""
    kind = "set" if entry.direction == "in" else "result"
    if element.tag == IQ and element.get("type") == kind and element.find(ROSTER) is not None:
        element.set("id", "push")
    return True


def _echo_of_leaving(entry: Entry, element: ET.Element, own: str) -> bool:
    return not (entry.direction == "in" and element.tag == PRESENCE and element.get("type") == "unavailable"
                and element.get("from") == own)  # fmt: skip


def _more_presence_than_asked(entry: Entry, element: ET.Element, own: str) -> bool:
    unasked = ("alice asks to see bob", "bob asks to see alice")
    if entry.direction == "in" and element.tag == PRESENCE:
        if entry.step in unasked and element.get("type") == "unavailable":
            return False
        if entry.step == "alice lets him" and element.get("type") is None and entry.client != "bob":
            return False
    return True


def _end_of_presence(entry: Entry, element: ET.Element, own: str) -> bool:
    return not (entry.step == "roster remove" and entry.direction == "in" and element.tag == PRESENCE
                and element.get("type") == "unavailable" and entry.client != "bob")  # fmt: skip


def _between_two_halves(entry: Entry, element: ET.Element, own: str) -> bool:
    item = element.find(f"{ROSTER}/{{jabber:iq:roster}}item")
    if item is not None and entry.step == "roster remove" and item.get("subscription") in ("to", "from"):
        item.set("subscription", "one way")
    return True


def _held_presence(entry: Entry, element: ET.Element, own: str) -> bool:
    return not (entry.step == "inactive, then active again" and entry.client == "alice-desk"
                and element.tag == PRESENCE and element.findtext("{jabber:client}status") == "one")  # fmt: skip


def _count_of_resumption(entry: Entry, element: ET.Element, own: str) -> bool:
    if element.tag == f"{{{SM}}}resume":
        element.set("h", "*")
    return True


def _login(entry: Entry, element: ET.Element, own: str) -> bool:
    return not element.tag.startswith(SASL) or element.tag in (f"{SASL}success", f"{SASL}failure")


def _words_of_failure(entry: Entry, element: ET.Element, own: str) -> bool:
    if element.tag == f"{SASL}failure":
        _no_children(element, f"{SASL}text")
    return True


def _features(entry: Entry, element: ET.Element, own: str) -> bool:
    return element.tag != f"{{{STREAM}}}features"


def _header(entry: Entry, element: ET.Element, own: str) -> bool:
    if entry.direction == "in" and element.tag == f"{{{STREAM}}}stream":
        element.attrib.pop("to", None)
    return True


def _time_to_resume(entry: Entry, element: ET.Element, own: str) -> bool:
    if element.tag == f"{{{SM}}}enabled":
        del element.attrib["max"]
    return True


def _empty_name(entry: Entry, element: ET.Element, own: str) -> bool:
    _no_children(element, "{vcard-temp}N")
    return True


def _what_there_is(entry: Entry, element: ET.Element, own: str) -> bool:
    if entry.direction == "in" and entry.step == "discovery":
        for query in element.iter():
            if query.tag == DISCO_INFO:
                for identity in query.findall("{http://jabber.org/protocol/disco#info}identity"):
                    identity.attrib.pop("name", None)
                    if identity.get("category") == "pubsub":
                        query.remove(identity)
                for feature in query.findall("{http://jabber.org/protocol/disco#info}feature"):
                    query.remove(feature)
            elif query.tag == DISCO_ITEMS:
                for item in list(query):
                    item.attrib.pop("name", None)
                    if item.get("node") is not None:
                        query.remove(item)
            elif query.tag == "{jabber:iq:version}query":
                for child in list(query):
                    query.remove(child)
    return True


def _order_of_statuses(entry: Entry, element: ET.Element, own: str) -> bool:
    for x in element.iter(MUC_USER):
        x[:] = sorted(x, key=lambda child: (child.tag, child.get("code", "")))
    return True


def _white_space(entry: Entry, element: ET.Element, own: str) -> bool:
    if entry.step == "odd but legal XML":
        for each in element.iter():
            for name, value in each.attrib.items():
                each.set(name, value.replace("\t", " "))
            each.text = each.text and each.text.replace("\r", "\n")
    return True


ALLOWED = (
    Allowed("RFC 6120 8.1.5: a server SHOULD add the stream's xml:lang; the embedded service sends stanzas on as they"
            " came", _language),
    Allowed("XEP-0313: stanza-id by the account's archive, which is off by default here", _archive_ids),
    Allowed("RFC 6120 8.1.3: the id of a presence is for its sender; what is shown to others needs none",
            _presence_ids),
    Allowed("RFC 6120 8.1.1.2: a server may leave out or add the client's own address in `to`", _own_address),
    Allowed("RFC 6120 8.1.2.1: without `from` it is from the client's own account", _own_account),
    Allowed("XEP-0398: Prosody says in presence that there is no avatar", _photo),
    Allowed("XEP-0203: Prosody says since when a contact has been there; nothing asks for it", _delay_of_presence),
    Allowed("the id of a roster push is the server's own", _push_ids),
    Allowed("RFC 6121 4.5.2: a resource that has just become unavailable gets no presence", _echo_of_leaving),
    Allowed("Prosody sends presence to who has only asked for it, and again to who has it", _more_presence_than_asked),
    Allowed("RFC 6121 3.3.3: who loses a subscription gets unavailable presence; Prosody omits that to who removed"
            " the contact", _end_of_presence),
    Allowed("RFC 6121 2.5.2: unsubscribe and unsubscribed have no order", _between_two_halves),
    Allowed("XEP-0352: of a contact's presences only the newest reaches a client that was inactive", _held_presence),
    Allowed("how many stanzas came before depends on all of the above", _count_of_resumption),
    Allowed("SCRAM: n or y by whether the server offers -PLUS; other iterations", _login),
    Allowed("RFC 6120 6.4.5: the text of a failure is for people", _words_of_failure),
    Allowed("what is offered differs; test_embedded_login looks at it", _features),
    Allowed("RFC 6120 4.7.2: `to` in the answer to a header once the client is known", _header),
    Allowed("XEP-0198: how long a session can be resumed is a setting", _time_to_resume),
    Allowed("Prosody adds an empty name to vCards, which it keeps as vCard4", _empty_name),
    Allowed("the children of muc#user's x have no order", _order_of_statuses),
    Allowed("XML 2.11, 3.3.3: what came as &#9; in an attribute or as &#xD; stays what it is; Prosody makes a space and"
            " a line feed of them", _white_space),
    Allowed("disco and version say what there is, without PEP and archive; test_embedded_queries looks at it",
            _what_there_is),
)  # fmt: skip


# Of what one step brings from one sender: RFC 6121 says neither whether a push comes before the result of the request
# that caused it (2.1.6), nor which of unsubscribe and unsubscribed comes first (2.5.2).
LATE = {(IQ, "set"): 1, (PRESENCE, "unsubscribe"): 1, (PRESENCE, "unsubscribed"): 2}


def without(transcript: Transcript, rules: tuple[Allowed, ...] = ALLOWED) -> Transcript:
    """A copy of the transcript without what these rules allow, what has no order in an order."""
    own: dict[str, str] = {}
    result = Transcript([], list(transcript.steps), dict(transcript.chosen), set(transcript.undelayed))
    for entry in transcript.entries:
        element = copy.deepcopy(entry.element)
        if element is not None:
            jid = element.find(".//{urn:ietf:params:xml:ns:xmpp-bind}jid")
            if entry.direction == "in" and jid is not None:
                own[entry.client] = jid.text or ""
            if not all(rule.apply(entry, element, own.get(entry.client, "")) for rule in rules):
                continue
        result.entries.append(Entry(entry.step, entry.client, entry.direction, element, entry.event))
    result.entries.sort(key=_lateness)
    return result


def _lateness(entry: Entry) -> int:
    if entry.element is None or entry.direction != "in":
        return 0
    return LATE.get((entry.element.tag, entry.element.get("type", "")), 0)
