"""The smallest host for Login and StreamManagement: asyncio sockets, sessions in a list, messages only."""

from __future__ import annotations

import asyncio
import secrets
import ssl
from dataclasses import dataclass, field

from megaphone.service.attempt import Transport
from megaphone.service.authenticator import Authenticator
from megaphone.service.login import Login, Step
from megaphone.service.login_states import Action
from megaphone.stream import resumption
from megaphone.stream.jid import JID
from megaphone.stream.nonza import Ack, AckRequest, Enable, read_nonza
from megaphone.stream.resumption import StreamManagement
from megaphone.stream.stanza import Stanza
from megaphone.wire.framer import Element, Event
from megaphone.wire.header import read_stream_header
from megaphone.wire.stanza_reader import StreamStanzaReader
from megaphone.wire.stanza_writer import iq_result

STANZAS = (Element.MESSAGE_ELEMENT, Element.PRESENCE_ELEMENT, Element.IQ_ELEMENT)


@dataclass
class Session:
    """A bound resource; `got` are the bodies that its client has sent."""

    jid: JID
    connection: Connection | None
    management: StreamManagement | None = None
    got: list[str] = field(default_factory=list)

    def deliver(self, stanza: bytes) -> None:
        if self.management is not None:
            assert self.management.sent(stanza)
        if self.connection is not None:
            self.connection.write(stanza)
            if self.management is not None and self.management.wants_request(pause=True):
                self.connection.write(resumption.REQUEST)


class Connection(asyncio.Protocol):
    """One client connection, read as the edge reads it."""

    def __init__(self, host: SmallHost) -> None:
        self.host = host
        self.reader = StreamStanzaReader()
        self.session: Session | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        self.transport = transport
        tls: ssl.SSLObject | None = transport.get_extra_info("ssl_object")
        unique = tls.get_channel_binding("tls-unique") if tls is not None and tls.version() == "TLSv1.2" else None
        facts = Transport(encrypted=tls is not None, bindings={"tls-unique": unique} if unique else {}, address="here")
        self.login = Login({self.host.authenticator.domain: self.host.authenticator}, facts)

    def write(self, data: bytes) -> None:
        self.transport.write(data)

    def connection_lost(self, _: Exception | None) -> None:
        if self.session is not None and self.session.connection is self:
            self.session.connection = None

    def data_received(self, data: bytes) -> None:
        for event, kind, text, _ in self.reader.read(data, restarts=True):
            if event is Event.HEADER:
                self.follow(self.login.receive_header(read_stream_header(text), secrets.token_hex(8)))
            elif event is Event.STREAM_END:
                self.transport.close()
            elif event is Event.ERROR:
                raise AssertionError(kind)
            elif self.session is None:
                self.follow(self.login.receive_element(text, 0.0))
            elif kind in STANZAS:
                self.take(self.session, Stanza.read(text))
            else:
                self.take_nonza(self.session, text)

    def follow(self, step: Step) -> None:
        self.write(step.data)
        if step.action is Action.VERIFY:
            assert step.check is not None
            self.follow(self.login.verified(step.check.holds(), 0.0))
        elif step.action is Action.BIND:
            assert self.login.account is not None
            self.session = Session(self.login.account.at(step.resource or "chosen"), self)
            self.host.sessions.append(self.session)
            self.write(self.login.bound(self.session.jid).data)
        elif step.action is Action.RESUME:
            assert step.resume is not None
            self.resume(step.resume.previd, step.resume.h)
        elif step.action is Action.CLOSE:
            self.transport.close()

    def resume(self, previd: str, h: int) -> None:
        for session in self.host.sessions:
            management = session.management
            if management is None or management.id != previd or session.jid.bare != self.login.account:
                continue
            again = management.resume(h)
            if session.connection is not None:
                session.connection.write(resumption.REPLACED)
                session.connection.transport.close()
            session.connection = self
            self.session = session
            self.write(self.login.resumed(resumption.resumed(previd, management.handled)).data + b"".join(again))
            return
        self.follow(self.login.refuse_resume())

    def take(self, session: Session, stanza: Stanza) -> None:
        if stanza.kind == "iq" and stanza.type in ("get", "set"):
            session.deliver(iq_result(id_=stanza.id or ""))
        if stanza.kind == "message":
            session.got.append(stanza.tree.findtext("{jabber:client}body") or "")
        if session.management is not None:
            session.management.received()

    def take_nonza(self, session: Session, data: bytes) -> None:
        nonza = read_nonza(data)
        management = session.management
        if isinstance(nonza, Enable):
            session.management = StreamManagement(resumption.resumption_id(secrets.token_bytes))
            self.write(resumption.enabled(session.management.id, 60))
        elif isinstance(nonza, AckRequest) and management is not None:
            self.write(resumption.answer(management.handled))
        elif isinstance(nonza, Ack) and management is not None:
            management.acknowledge(nonza.h)


class SmallHost:
    """`async with SmallHost(...) as host`: listens on `host.port` on loopback."""

    def __init__(self, authenticator: Authenticator, context: ssl.SSLContext | None = None) -> None:
        self.authenticator = authenticator
        self.context = context
        self.sessions: list[Session] = []

    async def __aenter__(self) -> SmallHost:
        loop = asyncio.get_running_loop()
        self._server = await loop.create_server(lambda: Connection(self), "127.0.0.1", 0, ssl=self.context)
        self.port: int = self._server.sockets[0].getsockname()[1]
        return self

    async def __aexit__(self, *_: object) -> None:
        self._server.close()
        for session in self.sessions:
            if session.connection is not None:
                session.connection.transport.abort()
