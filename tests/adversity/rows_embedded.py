"""What clients of the embedded service may do wrong, row by row; the password of `user` is `pass`."""

import base64
import re
from contextlib import ExitStack

from tests.adversity.plays import CLOSE_NOTIFY
from tests.adversity.scene import Scene
from tests.adversity.table import END, Piece, Play, Row, Section, error
from tests.adversity.visitor import Answer

RESUME_STANZAS = 100
ROSTER_ITEMS = 50
SESSIONS = 3
FAILED_LOGINS = 2

_SASL = "urn:ietf:params:xml:ns:xmpp-sasl"
_STANZAS = "urn:ietf:params:xml:ns:xmpp-stanzas"
_AUTH = b"<auth xmlns='urn:ietf:params:xml:ns:xmpp-sasl' mechanism='%b'>%b</auth>"
_ENABLE = b"<enable xmlns='urn:xmpp:sm:3' resume='true'/>"
BIND = b"<iq type='set' id='b'><bind xmlns='urn:ietf:params:xml:ns:xmpp-bind'/></iq>"
BIND_TO = BIND.replace(b"/></iq>", b"><resource>%b</resource></bind></iq>")
_ITEM = b"<iq type='set' id='i%d'><query xmlns='jabber:iq:roster'><item jid='friend%d@example.test'/></query></iq>"


def plain(user: bytes, password: bytes) -> bytes:
    """`<auth/>` with SASL PLAIN."""
    return _AUTH % (b"PLAIN", base64.b64encode(b"\0" + user + b"\0" + password))


def refused(kind: str, condition: str, type_: str, id_: str, *, text: str = "", from_: str | None = "") -> Piece:
    """A stanza error; `from_` is None while there is no resource yet, "" for an answer of the service itself."""
    for_people = f"<text xmlns='{_STANZAS}' xml:lang='en'>{text}</text>" if text else ""
    to = "" if from_ is None else " to='user@example.test/RESOURCE'"
    sender = f" from='{from_}'" if from_ else ""
    body = f"<error type='{type_}'><{condition} xmlns='{_STANZAS}'/>{for_people}</error>"
    why = f" “{text.replace('&apos;', chr(39))}”" if text else ""
    return Piece(
        f"{kind} error `{condition}`, {type_}{why}",
        f"<{kind}{to}{sender} type='error' id='{id_}'>{body}</{kind}>".encode(),
    )


def failure(condition: str, text: str = "") -> Piece:
    """A SASL failure (RFC 6120 section 6.5)."""
    for_people = f"<text xml:lang='en'>{text}</text>" if text else ""
    why = f" “{text.replace('&apos;', chr(39))}”" if text else ""
    return Piece(
        f"FAILURE `{condition}`{why}", f"<failure xmlns='{_SASL}'><{condition}/>{for_people}</failure>".encode()
    )


def said(data: bytes) -> Play:
    """Send this in a session and leave; resources are written as `RESOURCE`."""

    def play(scene: Scene) -> Answer:
        with scene.session() as visitor:
            visitor.send(data)
            return anonymous(visitor.leave())

    return play


def last_words(data: bytes) -> Play:
    """Send this in a session, and hear what comes until the service ends it."""

    def play(scene: Scene) -> Answer:
        with scene.session() as visitor:
            visitor.send(data)
            return anonymous(visitor.answer())

    return play


def anonymous(answer: Answer) -> Answer:
    """The same with what is random replaced."""
    data = re.sub(rb"user@example\.test/[0-9a-f]{16}", b"user@example.test/RESOURCE", answer.data)
    return Answer(re.sub(rb" id='[0-9a-f]{32}'", b" id='ID'", data), answer.end)


def logging_in(*data: bytes) -> Play:
    """Send each of these after the features inside TLS, once the one before is answered; then leave."""

    def play(scene: Scene) -> Answer:
        with scene.inside() as visitor:
            visitor.open()
            heard = b""
            for each in data:
                visitor.send(each)
                heard += visitor.read_until(b"</failure>")
            left = visitor.leave()
            return Answer(heard + left.data, left.end)

    return play


def before_binding(data: bytes) -> Play:
    """Send this after the login, where a resource is to be bound."""

    def play(scene: Scene) -> Answer:
        with scene.inside() as visitor:
            visitor.open()
            visitor.send(plain(b"user", b"pass"))
            visitor.read_until(b"/>")
            visitor.open()
            visitor.send(data)
            return visitor.answer() if b"message" in data else visitor.leave()

    return play


def one_session_more(scene: Scene) -> Answer:
    """As many sessions as a user may have, and another."""
    with ExitStack() as stack:
        others = [stack.enter_context(scene.session()) for _ in range(SESSIONS)]
        answer = before_binding(BIND)(scene)
        for other in others:
            other.leave()
        return answer


def oversized_roster(scene: Scene) -> Answer:
    """As many contacts as a user may have, and another; then all of them are taken out again."""
    with scene.session() as visitor:
        for number in range(ROSTER_ITEMS):
            visitor.send(_ITEM % (number, number))
            visitor.read_until(b"id='i%d'/>" % number)
        visitor.send(_ITEM % (ROSTER_ITEMS, ROSTER_ITEMS))
        answer = anonymous(visitor.leave())
    with scene.session() as visitor:
        for number in range(ROSTER_ITEMS):
            visitor.send((_ITEM % (number, number)).replace(b"'/></query>", b"' subscription='remove'/></query>"))
            visitor.read_until(b"id='i%d'/>" % number)
        visitor.leave()
    return answer


def never_acknowledges(scene: Scene) -> Answer:
    """Enable stream management, and acknowledge nothing of what one says to oneself."""
    with scene.session() as visitor:
        visitor.send(b"<presence/>" + _ENABLE)
        visitor.read_until(b"<enabled")
        visitor.send(b"<message to='user@example.test' type='chat'><body>x</body></message>" * (RESUME_STANZAS + 1))
        answer = anonymous(visitor.answer())
        return Answer(answer.data[answer.data.find(b"<stream:error") :], answer.end)


TO_NOBODY = b"<message to='%b' id='1' type='chat'><body>?</body></message>"

LOGINS = (
    Row(
        sent="`<auth/>` with a wrong password",
        play=logging_in(plain(b"user", b"wrong")),
        answer=(failure("not-authorized"), END),
        end=CLOSE_NOTIFY,
        reason="client-closed",
    ),
    Row(
        sent="`<auth/>` for an account that there is not",
        play=logging_in(plain(b"nobody", b"pass")),
        answer=(failure("not-authorized"), END),
        end=CLOSE_NOTIFY,
        reason="client-closed",
    ),
    Row(
        sent=f"{FAILED_LOGINS + 1} wrong passwords, and then the right one, "
        f"with `failed_logins_per_account = {FAILED_LOGINS}`",
        play=logging_in(*[plain(b"guessed", b"wrong")] * (FAILED_LOGINS + 1), plain(b"guessed", b"pass")),
        answer=(
            Piece(
                f"{FAILED_LOGINS + 1} times FAILURE `not-authorized`",
                failure("not-authorized").data * (FAILED_LOGINS + 1),
            ),
            failure("temporary-auth-failure", "There were too many failed logins; try again later"),
            END,
        ),
        end=CLOSE_NOTIFY,
        reason="client-closed",
    ),
    Row(
        sent="`<auth/>` with a mechanism that there is not",
        play=logging_in(_AUTH % (b"DIGEST-MD5", b"")),
        answer=(failure("invalid-mechanism", "This mechanism is not offered here"), END),
        end=CLOSE_NOTIFY,
        reason="client-closed",
    ),
    Row(
        sent="`<auth/>` with something that is no Base64",
        play=logging_in(_AUTH % (b"PLAIN", b"?!")),
        answer=(failure("incorrect-encoding", "The data is not base64"), END),
        end=CLOSE_NOTIFY,
        reason="client-closed",
    ),
    Row(
        sent="A message before a resource is bound",
        play=before_binding(TO_NOBODY % b"user@example.test"),
        answer=(error("not-authorized", "Bind a resource first"), END),
        end=CLOSE_NOTIFY,
        reason="invalid-xml",
    ),
    Row(
        sent="A resource that is none",
        play=before_binding(BIND_TO % (b"x" * 1024)),
        answer=(
            refused("iq", "bad-request", "modify", "b", text="the resource has more than 1023 bytes", from_=None),
            END,
        ),
        end=CLOSE_NOTIFY,
        reason="client-closed",
    ),
    Row(
        sent=f"One session more than a user may have, with `sessions_per_user = {SESSIONS}`",
        play=one_session_more,
        answer=(
            refused(
                "iq", "resource-constraint", "wait", "b", text=f"A user has at most {SESSIONS} sessions", from_=None
            ),
            END,
        ),
        end=CLOSE_NOTIFY,
        reason="client-closed",
    ),
    Row(
        sent="`<resume/>` of a session that there is not",
        play=before_binding(b"<resume xmlns='urn:xmpp:sm:3' previd='0123456789abcdef' h='0'/>"),
        answer=(
            Piece(
                "`<failed/>` with `item-not-found`",
                f"<failed xmlns='urn:xmpp:sm:3'><item-not-found xmlns='{_STANZAS}'/></failed>".encode(),
            ),
            END,
        ),
        end=CLOSE_NOTIFY,
        reason="client-closed",
    ),
)

STANZAS = (
    Row(
        sent="A message to a JID that is none",
        play=said(TO_NOBODY % b"a@b@example.test"),
        answer=(refused("message", "jid-malformed", "modify", "1"), END),
        end=CLOSE_NOTIFY,
        reason="client-closed",
    ),
    Row(
        sent="A request to a JID whose local part has 1,024 bytes",
        play=said(b"<iq type='get' id='1' to='" + b"x" * 1024 + b"@example.test'><ping xmlns='urn:xmpp:ping'/></iq>"),
        answer=(refused("iq", "jid-malformed", "modify", "1"), END),
        end=CLOSE_NOTIFY,
        reason="client-closed",
    ),
    Row(
        sent="Presence to `@`",
        play=said(b"<presence id='1' to='@'/>"),
        answer=(refused("presence", "jid-malformed", "modify", "1"), END),
        end=CLOSE_NOTIFY,
        reason="client-closed",
    ),
    Row(
        sent="A message to a user who does not exist",
        play=said(TO_NOBODY % b"nobody@example.test"),
        answer=(refused("message", "service-unavailable", "cancel", "1", from_="nobody@example.test"), END),
        end=CLOSE_NOTIFY,
        reason="client-closed",
    ),
    Row(
        sent="A message to another domain",
        play=said(TO_NOBODY % b"somebody@elsewhere.test"),
        answer=(refused("message", "remote-server-not-found", "cancel", "1", from_="somebody@elsewhere.test"), END),
        end=CLOSE_NOTIFY,
        reason="client-closed",
    ),
    Row(
        sent=f"One contact more than a roster may have, with `roster_items = {ROSTER_ITEMS}`",
        play=oversized_roster,
        answer=(
            refused(
                "iq",
                "resource-constraint",
                "wait",
                f"i{ROSTER_ITEMS}",
                text=f"A roster has at most {ROSTER_ITEMS} items",
            ),
            END,
        ),
        end=CLOSE_NOTIFY,
        reason="client-closed",
    ),
    Row(
        sent="`<a/>` for a stanza that was never sent",
        play=last_words(_ENABLE + b"<a xmlns='urn:xmpp:sm:3' h='7'/>"),
        answer=(
            Piece("ENABLED", b"<enabled xmlns='urn:xmpp:sm:3' id='ID' max='300' resume='true'/>"),
            Piece(
                "ERROR `undefined-condition` “You acknowledged 7 stanzas, but only 0 were sent to you” "
                "with `<handled-count-too-high/>`",
                error("undefined-condition", "You acknowledged 7 stanzas, but only 0 were sent to you").data.replace(
                    b"</stream:error>",
                    b"<handled-count-too-high xmlns='urn:xmpp:sm:3' h='7' send-count='0'/></stream:error>",
                ),
            ),
            END,
        ),
        end=CLOSE_NOTIFY,
        reason="invalid-xml",
    ),
    Row(
        sent=f"No `<a/>` for {RESUME_STANZAS + 1} stanzas, with `resume_stanzas = {RESUME_STANZAS}`",
        play=never_acknowledges,
        answer=(error("resource-constraint", "too much waits for your acknowledgement"), END),
        end=CLOSE_NOTIFY,
        reason="resource-constraint",
    ),
    Row(
        sent="A message that is one only by name, in another namespace",
        play=last_words(b"<message xmlns='urn:example:x' to='user@example.test'/>"),
        answer=(error("unsupported-stanza-type"), END),
        end=CLOSE_NOTIFY,
        reason="invalid-xml",
    ),
    Row(
        sent="A first-level element of no namespace that is known",
        play=last_words(b"<x xmlns='urn:example:x'/>"),
        answer=(error("unsupported-stanza-type"), END),
        end=CLOSE_NOTIFY,
        reason="invalid-xml",
    ),
)

SECTIONS = (
    Section(
        "Logging in to the embedded service",
        "Inside direct TLS, with SASL PLAIN; a client that gets an answer then leaves.",
        LOGINS,
    ),
    Section(
        "Stanzas of the embedded service's clients",
        "Of a logged-in client, which leaves when it has its answer.",
        STANZAS,
    ),
)
