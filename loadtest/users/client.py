"""One XMPP session on one blocking socket, for small tests and for scripts of one's own.

slixmpp lives on asyncio and Locust on gevent, which do not share a thread. Locust makes Python's sockets wait in a
gevent-friendly way, so a plain blocking client is all that is needed.
"""

import base64
import contextlib
import errno
import secrets
import socket
import ssl
from collections.abc import Iterator
from types import TracebackType
from typing import Any, Self
from xml.etree import ElementTree as ET
from xml.sax.saxutils import escape, quoteattr

import gevent
from gevent.event import AsyncResult

from loadtest.swarm import Target
from loadtest.users.scram import HASHES, Scram, ScramError

STREAMS = "{http://etherx.jabber.org/streams}"
TLS = "urn:ietf:params:xml:ns:xmpp-tls"
SASL = "urn:ietf:params:xml:ns:xmpp-sasl"
BIND = "urn:ietf:params:xml:ns:xmpp-bind"
STANZAS = "{urn:ietf:params:xml:ns:xmpp-stanzas}"
PING = "urn:xmpp:ping"
CHUNK_BYTES = 16_384
WAITING_LIMIT = 1_000


class ClientError(Exception):
    """What went wrong, as `where:what`: `connect:ECONNREFUSED`, `sasl:not-authorized`, `session:closed`."""


class Client:
    """A session; make one, `login`, then `send`, `request`, `say`. What others send is answered or dropped."""

    def __init__(self, target: Target, *, timeout_seconds: float = 60.0) -> None:
        self._target = target
        self._timeout = timeout_seconds
        self._socket: socket.socket | None = None
        self._parser: Any = None
        self._open_elements: list[ET.Element] = []
        self._place = "connect"
        self._waiting: dict[str, AsyncResult] = {}
        self._reader: gevent.Greenlet | None = None
        self.jid = ""
        """Full JID, once logged in."""

    def login(self, mechanism: str, name: str = "", password: str = "") -> None:
        """Connect, secure, authenticate, bind, send presence; ClientError if one of these fails."""
        with self._errors():
            host, ports = self._target.host, self._target.ports
            sources = self._target.sources()
            source = (socket.inet_ntop(_family(sources[0]), secrets.choice(sources)), 0) if sources else None
            self._socket = socket.create_connection((host, secrets.choice(ports)), self._timeout, source_address=source)
            if self._target.security == "tls":
                self._secure()
            self._open()
            if self._target.security == "starttls":
                self._write(f"<starttls xmlns='{TLS}'/>")
                self._expect(f"{{{TLS}}}proceed")
                self._secure()
                self._open()
            self._authenticate(mechanism, name, password)
            self._open()
            self._place = "bind"
            self._write(f"<iq type='set' id='bind'><bind xmlns='{BIND}'/></iq>")
            answer = self._expect("{jabber:client}iq")
            self.jid = answer.findtext(f"{{{BIND}}}bind/{{{BIND}}}jid") or ""
            if not self.jid:
                raise ClientError(f"bind:{_condition(answer)}")
            self._place = "session"
            self._write("<presence/>")
        self._reader = gevent.spawn(self._read_on)

    def say(self, to: str, body: str, *, timeout_seconds: float = 30.0) -> ET.Element:
        """Send a chat message and wait until it comes in at this very session, or an error to it."""
        name = secrets.token_hex(8)
        return self.request(
            f"<message to={quoteattr(to)} type='chat' id='{name}'><body>{escape(body)}</body></message>",
            name,
            where="message",
            timeout_seconds=timeout_seconds,
        )

    def ping(self, *, timeout_seconds: float = 30.0) -> ET.Element:
        """Ping the server (XEP-0199)."""
        name = secrets.token_hex(8)
        ping = f"<iq type='get' to={quoteattr(self._target.domain)} id='{name}'><ping xmlns='{PING}'/></iq>"
        return self.request(ping, name, where="ping", timeout_seconds=timeout_seconds)

    def request(self, stanza: str, name: str, *, where: str, timeout_seconds: float = 30.0) -> ET.Element:
        """Send a stanza and wait for one with the same id; ClientError(`where:…`) for an error or if none comes."""
        if self._reader is None or self._reader.dead:
            raise ClientError("session:closed")
        if len(self._waiting) >= WAITING_LIMIT:
            raise ClientError(f"{where}:busy")
        result = self._waiting[name] = AsyncResult()
        try:
            self.send(stanza)
            answer: ET.Element | None = result.get(timeout=timeout_seconds)
        except gevent.Timeout:
            raise ClientError(f"{where}:timeout") from None
        finally:
            self._waiting.pop(name, None)
        if answer is None:
            raise ClientError("session:closed")
        if answer.get("type") == "error":
            raise ClientError(f"{where}:{_condition(answer)}")
        return answer

    def send(self, stanza: str) -> None:
        """Send a stanza; ClientError if the connection is gone."""
        with self._errors():
            self._write(stanza)

    def close(self) -> None:
        """Leave in order, and wait a moment for the server to do the same. May be called at any time."""
        with contextlib.suppress(ClientError, OSError):
            if self._reader and not self._reader.dead:
                self.send("<presence type='unavailable'/></stream:stream>")
                self._reader.join(timeout=5.0)
        if self._reader:
            self._reader.kill()
        if self._socket:
            self._socket.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, tb: TracebackType | None) -> None:
        self.close()

    @property
    def _connected(self) -> socket.socket:
        if self._socket is None:
            raise ClientError("session:closed")
        return self._socket

    def _secure(self) -> None:
        self._place = "tls"
        context = ssl.create_default_context(cafile=self._target.ca_file)
        if not self._target.verify:
            context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
        self._socket = context.wrap_socket(self._connected, server_hostname=self._target.domain)

    def _open(self) -> None:
        self._place = "stream"
        self._parser, self._open_elements = ET.XMLPullParser(("start", "end")), []
        self._write(
            f"<?xml version='1.0'?><stream:stream to={quoteattr(self._target.domain)} version='1.0' "
            "xmlns='jabber:client' xmlns:stream='http://etherx.jabber.org/streams'>"
        )
        self._features = self._expect(f"{STREAMS}features")

    def _authenticate(self, mechanism: str, name: str, password: str) -> None:
        self._place = "sasl"
        if mechanism not in [each.text for each in self._features.iter(f"{{{SASL}}}mechanism")]:
            raise ClientError("sasl:invalid-mechanism")
        scram = Scram(mechanism, name, password) if mechanism in HASHES else None
        first = scram.first() if scram else f"\0{name}\0{password}".encode() if mechanism == "PLAIN" else b"="
        text = "=" if first == b"=" else base64.b64encode(first).decode()
        self._write(f"<auth xmlns='{SASL}' mechanism='{mechanism}'>{text}</auth>")
        try:
            if scram:
                challenge = base64.b64decode(self._expect(f"{{{SASL}}}challenge").text or "")
                answer = base64.b64encode(scram.final(challenge)).decode()
                self._write(f"<response xmlns='{SASL}'>{answer}</response>")
            success = self._expect(f"{{{SASL}}}success")
            if scram:
                scram.verify(base64.b64decode(success.text or ""))
        except ScramError:
            raise ClientError("sasl:wrong-challenge") from None

    def _write(self, text: str) -> None:
        self._connected.sendall(text.encode())

    def _expect(self, tag: str) -> ET.Element:
        found = next(self._elements(), None)
        if found is None:
            raise ClientError(f"{self._place}:closed")
        if found.tag != tag:
            raise ClientError(f"{self._place}:{_condition(found)}")
        return found

    def _elements(self) -> Iterator[ET.Element]:
        """First-level elements of the stream as they come, until it ends."""
        while True:
            for event, element in self._parser.read_events():
                if event == "start":
                    self._open_elements.append(element)
                    continue
                self._open_elements.pop()
                if not self._open_elements:
                    return
                if len(self._open_elements) == 1:
                    self._open_elements[0].clear()  # else the stream would be kept whole
                    yield element
            data = self._connected.recv(CHUNK_BYTES)
            if not data:
                return
            self._parser.feed(data)

    def _read_on(self) -> None:
        with contextlib.suppress(OSError, ET.ParseError):
            self._connected.settimeout(None)
            for stanza in self._elements():
                if stanza.tag == f"{STREAMS}error":
                    break
                if waiting := self._waiting.get(stanza.get("id", "")):
                    waiting.set(stanza)
                elif stanza.tag == "{jabber:client}iq" and stanza.get("type") in ("get", "set"):
                    self._write(_answer(stanza))
        for waiting in list(self._waiting.values()):
            waiting.set(None)

    @contextlib.contextmanager
    def _errors(self) -> Iterator[None]:
        try:
            yield
        except TimeoutError:
            raise ClientError(f"{self._place}:timeout") from None
        except ssl.SSLError as error:
            raise ClientError(f"tls:{error.reason or 'handshake'}") from None
        except ET.ParseError:
            raise ClientError(f"{self._place}:not-xml") from None
        except OSError as error:
            raise ClientError(f"{self._place}:{_name_of(error)}") from None


def _family(packed: bytes) -> socket.AddressFamily:
    return socket.AF_INET if len(packed) == 4 else socket.AF_INET6


def _name_of(error: OSError) -> str:
    return errno.errorcode.get(error.errno or 0, type(error).__name__)


def _condition(element: ET.Element) -> str:
    """The defined condition of a stream, SASL or stanza error (RFC 6120 sections 4.9.3, 6.5, 8.3.3)."""
    error = element.find("{jabber:client}error")
    first = next(iter(error if error is not None else element), None)
    return "unexpected" if first is None else first.tag.rpartition("}")[2]


def _answer(request: ET.Element) -> str:
    """The answer to a request: a ping's is empty, nothing else is served here."""
    address = f"to={quoteattr(request.get('from', ''))}" if request.get("from") else ""
    name = quoteattr(request.get("id", ""))
    if request.find(f"{{{PING}}}ping") is not None:
        return f"<iq type='result' {address} id={name}/>"
    unavailable = f"<error type='cancel'><service-unavailable xmlns='{STANZAS.strip('{}')}'/></error>"
    return f"<iq type='error' {address} id={name}>{unavailable}</iq>"
