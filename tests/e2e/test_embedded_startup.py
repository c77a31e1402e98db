"""What Gajim, Dino, Converse and profanity ask a server when they start, in the order of their source: all is answered.

Each sends its requests without waiting for answers. What the embedded service does not have is answered with
service-unavailable, and discovery does not offer it; a client that hears nothing would wait with its window empty.
"""

import asyncio
from xml.etree import ElementTree as ET

import pytest

from tests.scenarios.light import LightClient
from tests.servers.certificates import CertificateAuthority
from tests.servers.embedded import Embedded
from tests.servers.model import CAROL, DOMAIN, ROOMS

OWN = CAROL.jid
UNAVAILABLE = "service-unavailable"
RESULT = "result"
STANZAS = "{urn:ietf:params:xml:ns:xmpp-stanzas}"

DISCO_INFO = "<query xmlns='http://jabber.org/protocol/disco#info'/>"
DISCO_ITEMS = "<query xmlns='http://jabber.org/protocol/disco#items'/>"
ROSTER = "<query xmlns='jabber:iq:roster' ver=''/>"
CARBONS = "<enable xmlns='urn:xmpp:carbons:2'/>"
BLOCKLIST = "<blocklist xmlns='urn:xmpp:blocking'/>"
BOOKMARKS = "<query xmlns='jabber:iq:private'><storage xmlns='storage:bookmarks'/></query>"
NOTES = "<query xmlns='jabber:iq:private'><storage xmlns='storage:rosternotes'/></query>"
DELIMITER = "<query xmlns='jabber:iq:private'><roster xmlns='roster:delimiter'/></query>"
VCARD = "<vCard xmlns='vcard-temp'/>"
SESSION = "<session xmlns='urn:ietf:params:xml:ns:xmpp-session'/>"
PING = "<ping xmlns='urn:xmpp:ping'/>"
EXTERNAL_SERVICES = "<services xmlns='urn:xmpp:extdisco:2'/>"
ARCHIVE = (
    "<query xmlns='urn:xmpp:mam:2'><x xmlns='jabber:x:data' type='submit'><field var='FORM_TYPE' type='hidden'>"
    "<value>urn:xmpp:mam:2</value></field></x><set xmlns='http://jabber.org/protocol/rsm'><max>20</max></set></query>"
)
ARCHIVE_PREFERENCES = "<prefs xmlns='urn:xmpp:mam:2'/>"
PUSH = "<enable xmlns='urn:xmpp:push:0' jid='push.example' node='n'/>"
SLOT = "<request xmlns='urn:xmpp:http:upload:0' filename='a.jpg' size='23456' content-type='image/jpeg'/>"


def node(name: str) -> str:
    """A request for the items of a node of one's own (XEP-0163)."""
    return f"<pubsub xmlns='http://jabber.org/protocol/pubsub'><items node='{name}'/></pubsub>"


def publish(name: str) -> str:
    return (
        f"<pubsub xmlns='http://jabber.org/protocol/pubsub'><publish node='{name}'><item id='current'>"
        "<list xmlns='eu.siacs.conversations.axolotl'/></item></publish></pubsub>"
    )


DEVICES = "eu.siacs.conversations.axolotl.devicelist"
Request = tuple[str, str | None, str, str]

GAJIM: list[Request] = [
    ("get", DOMAIN, DISCO_INFO, RESULT),
    ("get", OWN, DISCO_INFO, RESULT),
    ("get", DOMAIN, DISCO_ITEMS, RESULT),
    ("get", ROOMS, DISCO_INFO, RESULT),
    ("set", None, CARBONS, RESULT),
    ("get", None, ROSTER, RESULT),
    ("get", None, BOOKMARKS, RESULT),
    ("get", None, NOTES, RESULT),
    ("get", None, DELIMITER, RESULT),
    ("get", None, BLOCKLIST, RESULT),
    ("get", None, VCARD, RESULT),
    ("get", None, node("urn:xmpp:bookmarks:1"), UNAVAILABLE),
    ("set", None, ARCHIVE, UNAVAILABLE),
]
DINO: list[Request] = [
    ("set", None, SESSION, RESULT),
    ("get", None, ROSTER, RESULT),
    ("get", DOMAIN, DISCO_INFO, RESULT),
    ("get", OWN, DISCO_INFO, RESULT),
    ("get", DOMAIN, DISCO_ITEMS, RESULT),
    ("get", ROOMS, DISCO_INFO, RESULT),
    ("set", None, CARBONS, RESULT),
    ("get", None, BLOCKLIST, RESULT),
    ("get", None, BOOKMARKS, RESULT),
    ("get", OWN, node("urn:xmpp:bookmarks:1"), UNAVAILABLE),
    ("get", OWN, node("urn:xmpp:avatar:metadata"), UNAVAILABLE),
    ("get", OWN, node(DEVICES), UNAVAILABLE),
    ("set", None, publish(DEVICES), UNAVAILABLE),
    ("get", DOMAIN, EXTERNAL_SERVICES, UNAVAILABLE),
    ("set", OWN, ARCHIVE, UNAVAILABLE),
    ("get", OWN, VCARD, RESULT),
]
CONVERSE: list[Request] = [
    ("get", DOMAIN, DISCO_INFO, RESULT),
    ("get", DOMAIN, DISCO_ITEMS, RESULT),
    ("get", OWN, DISCO_INFO, RESULT),
    ("get", OWN, DISCO_ITEMS, RESULT),
    ("get", None, ROSTER, RESULT),
    ("set", None, CARBONS, RESULT),
    ("get", None, VCARD, RESULT),
    ("get", None, BLOCKLIST, RESULT),
    ("get", None, node("storage:bookmarks"), UNAVAILABLE),
    ("get", OWN, node(DEVICES), UNAVAILABLE),
    ("get", None, ARCHIVE_PREFERENCES, UNAVAILABLE),
    ("set", None, ARCHIVE, UNAVAILABLE),
    ("set", None, PUSH, UNAVAILABLE),
    ("get", DOMAIN, SLOT, UNAVAILABLE),
    ("get", ROOMS, DISCO_ITEMS, RESULT),
    ("get", DOMAIN, PING, RESULT),
]
PROFANITY: list[Request] = [
    ("get", None, ROSTER, RESULT),
    ("get", None, BOOKMARKS, RESULT),
    ("get", None, BLOCKLIST, RESULT),
    ("get", DOMAIN, DISCO_INFO, RESULT),
    ("get", DOMAIN, DISCO_ITEMS, RESULT),
    ("set", None, CARBONS, RESULT),
    ("get", ROOMS, DISCO_INFO, RESULT),
]


def outcome(answer: ET.Element) -> str:
    """`result`, or the condition of an error whose type goes with it."""
    if answer.get("type") == "result":
        return RESULT
    error = answer.find("{jabber:client}error")
    assert error is not None
    assert error.get("type") == "cancel"
    return next(child.tag.removeprefix(STANZAS) for child in error if not child.tag.endswith("}text"))


@pytest.mark.parametrize("requests", [GAJIM, DINO, CONVERSE, PROFANITY], ids=["gajim", "dino", "converse", "profanity"])
@pytest.mark.parametrize("stream_management", [False, True], ids=["", "with-0198"])
def test_a_start(
    embedded: Embedded, authority: CertificateAuthority, requests: list[Request], stream_management: bool
) -> None:
    async def run() -> None:
        client = await LightClient.login(embedded.direct, CAROL, authority.certificate)
        if stream_management:
            client.send("<enable xmlns='urn:xmpp:sm:3' resume='true'/>")
        for number, (kind, to, payload, _) in enumerate(requests):
            address = "" if to is None else f" to='{to}'"
            client.send(f"<iq type='{kind}' id='{number}'{address}>{payload}</iq>")
        client.send(
            "<presence><c xmlns='http://jabber.org/protocol/caps' hash='sha-1' node='n' ver='v'/>"
            "<x xmlns='vcard-temp:x:update'/></presence><active xmlns='urn:xmpp:csi:0'/>"
        )
        answers: dict[str, list[ET.Element]] = {}
        others = set()
        while len(answers) < len(requests) or "{jabber:client}presence" not in others:
            element = await client.next()
            if element.tag == "{jabber:client}iq":
                answers.setdefault(element.get("id", ""), []).append(element)
            else:
                others.add(element.tag)
        for number, (_, to, payload, expected) in enumerate(requests):
            (answer,) = answers[str(number)]
            assert outcome(answer) == expected, payload
            assert answer.get("to") == client.jid
            assert answer.get("from") == to
        await client.ping()
        client.send("</stream:stream>")
        assert await client.end() is None

    asyncio.run(run())
