"""Leads each new stream from its header to a session, and its connection to the home of its user.

The words are `service.login`'s; here is what they need from outside: passwords checked in a thread, sessions bound and
resumed, connections given away.
"""

from __future__ import annotations

import secrets
from typing import TYPE_CHECKING

from megaphone.dispatch.counters import Reason, Slot
from megaphone.edge.connection import ClientConnection
from megaphone.edge.reasons import reason_of
from megaphone.embedded.hand_over import Record
from megaphone.errors import BindError, StorageError
from megaphone.service.attempt import Transport
from megaphone.service.login import Action, Login, State, Step
from megaphone.sockets.client_address import address_text
from megaphone.stream.jid import JID, normalise_resource
from megaphone.wire.header import read_stream_header

if TYPE_CHECKING:
    import asyncio
    from collections.abc import Callable, Mapping

    from megaphone.dispatch.counters import Board
    from megaphone.dispatch.dispatcher import Connection
    from megaphone.embedded.promises import Promises
    from megaphone.embedded.relay import Relay, RemoteConnection
    from megaphone.embedded.router import Router
    from megaphone.embedded.sessions import Sessions
    from megaphone.embedded.stream import EmbeddedStream, Streams
    from megaphone.embedded.user_nodes import UserNodes
    from megaphone.embedded.user_resuming import Resuming
    from megaphone.service.authenticator import Authenticator
    from megaphone.storage.accounts import SQLiteAccounts

_STANDARD_PREFIX = ("stream", "http://etherx.jabber.org/streams")
_IPV6_PREFIX_BYTES = 8
_FAILURE = b"<failure "


class Logins:
    """The streams of one worker that have no session yet.

    `relay` is set before the first stream where there are other workers, `user_nodes` and `resuming` where there are
    other nodes. `give(peer, record, descriptor)` sends a
    connection to another worker; `listen_of(connection)` is the place of its listener in the configuration.
    """

    relay: Relay | None = None
    user_nodes: UserNodes | None = None
    resuming: Resuming | None = None

    def __init__(
        self,
        *,
        loop: asyncio.AbstractEventLoop,
        board: Board,
        streams: Streams,
        router: Router,
        sessions: Sessions,
        authenticator: Authenticator,
        accounts: SQLiteAccounts,
        promises: Promises,
        give: Callable[[int, Record, int], None],
        listen_of: Callable[[ClientConnection], int],
    ) -> None:
        self._loop = loop
        self._board = board
        self._streams = streams
        self._router = router
        self._sessions = sessions
        self._authenticators = {authenticator.domain: authenticator}
        self._accounts = accounts
        self._promises = promises
        self._give = give
        self._listen_of = listen_of
        self._connections: dict[int, ClientConnection] = {}  # of streams that may still move, by id
        self.checking = 0  # passwords, in threads

    # --- streams begin ------------------------------------------------------------

    def open(self, connection: ClientConnection, domain: str) -> EmbeddedStream:
        """Return the owner of a new connection whose stream header names `domain`."""
        login = Login(self._authenticators, _transport(connection), default_domain=domain)
        stream = self._streams.open(connection, login)
        if self._router.workers > 1:
            self._connections[connection.id] = connection
        return stream

    def adopt(self, connection: ClientConnection, record: Record) -> EmbeddedStream:
        """Return the owner of a connection that another worker has authenticated."""
        stream = self._streams.open(connection, Login.authenticated(JID(*record.account), anonymous=record.anonymous))
        connection.own(stream)
        stream.say(record.say)
        connection.resume_stream(record.received)
        return stream

    def attach(self, connection: RemoteConnection, account: tuple[str, str], anonymous: bool) -> EmbeddedStream:
        """Return the owner of a connection that another worker has authenticated and keeps."""
        return self._streams.open(connection, Login.authenticated(JID(*account), anonymous=anonymous))

    def restored(self, stream: EmbeddedStream, connection: Connection) -> None:
        """A stream without a session has come from the process before this one, with its connection."""
        login: Login | None = stream.login
        if login is not None and login.account is None and isinstance(connection, ClientConnection):
            self._connections[connection.id] = connection

    def resume_again(self, stream: EmbeddedStream) -> None:
        """Ask once more for the session that a stream was about to resume in the process before this one."""
        login: Login | None = stream.login
        if login is None or login.wish is None or login.state is not State.WAIT_RESUMED:
            return
        self._resume(stream, Step(b"", Action.RESUME, resume=login.wish))
        if login.state is not State.WAIT_RESUMED:
            stream.go_on()
        self._router.drain()

    @property
    def authenticators(self) -> Mapping[str, Authenticator]:
        """The domains served here, by their normalised names."""
        return self._authenticators

    def gone(self, stream_id: int) -> None:
        """The connection with this id is gone, or its stream has a session."""
        self._connections.pop(stream_id, None)

    # --- what the client says ------------------------------------------------------------

    def take_header(self, stream: EmbeddedStream, data: bytes) -> None:
        """Answer a stream header."""
        try:
            header = read_stream_header(data)
        except ValueError as error:
            stream.end(str(error.args[0]), reason_of(str(error.args[0])))
            return
        others = [(prefix, name) for prefix, name in header.prefixes if (prefix, name) != _STANDARD_PREFIX]
        if others:
            stream.declare(others)
        self._follow(stream, stream.login.receive_header(header, secrets.token_hex(8)))

    def take_element(self, stream: EmbeddedStream, data: bytes) -> None:
        """Answer a first-level element."""
        self._follow(stream, stream.login.receive_element(data, self._router.now()))

    def take_stream_end(self, stream: EmbeddedStream) -> None:
        """Answer `</stream:stream>`."""
        stream.say(stream.login.receive_end().data)
        stream.end("", Reason.CLIENT_CLOSED)

    # --- what follows ------------------------------------------------------------

    def _follow(self, stream: EmbeddedStream, step: Step) -> bool:
        """Do what a step asks for; whether the stream must go on waiting, since it is about to move."""
        if step.action is Action.AUTHENTICATED:
            return self._authenticated(stream, step)
        if step.data:
            if step.data.startswith(_FAILURE):
                self._board.add(Slot.LOGIN_FAILURES, 1)
            stream.say(step.data)
        if step.action is Action.VERIFY:
            self._verify(stream, step)
        elif step.action is Action.BIND:
            self._bind(stream, step)
        elif step.action is Action.RESUME:
            self._resume(stream, step)
        elif step.action is Action.CLOSE:
            stream.end("", reason_of(step.condition) if step.condition else Reason.CLIENT_CLOSED)
        return False

    def _verify(self, stream: EmbeddedStream, step: Step) -> None:
        assert step.check is not None  # noqa: S101 - VERIFY has one
        stream.wait()
        checking = self._loop.run_in_executor(None, step.check.holds)
        self.checking += 1

        def checked(done: asyncio.Future[bool]) -> None:
            self.checking -= 1
            if not stream.connection_id:
                return  # it has hung up meanwhile
            if not self._follow(stream, stream.login.verified(done.result(), self._router.now())):
                stream.go_on()
            self._router.drain()

        checking.add_done_callback(checked)

    def _authenticated(self, stream: EmbeddedStream, step: Step) -> bool:
        """The client is known; whoever comes with a token and has no account gets one first."""
        assert step.account is not None  # noqa: S101 - AUTHENTICATED has one
        self._board.add(Slot.LOGINS, 1)
        if not step.by_token:
            return self._send_home(stream, step)
        stream.wait()
        try:
            self._accounts.ensure(step.account, self._router.now(), random=secrets.token_bytes)
        except StorageError as error:
            self._router.fault(error)  # if there is no account yet, the home will not bind
        self._promises.when_written(lambda: self._send_home(stream, step))
        return True

    def _send_home(self, stream: EmbeddedStream, step: Step) -> bool:
        """The client's stream begins anew at the home of its account; whether it waits until it has moved there."""
        connection = self._connections.pop(stream.connection_id, None)
        if not stream.connection_id or step.account is None:
            return True  # it has hung up meanwhile
        home = self._router.home(step.account)
        if home == self._router.index or connection is None:
            stream.say(step.data)
            stream.expect_header()
            stream.go_on()
            return False
        stream.wait()
        # not now: what the client has said in the same breath goes along, and the stream is about to put it aside
        self._loop.call_soon(self._move, home, stream, connection, step)
        return True

    def _move(self, home: int, stream: EmbeddedStream, connection: ClientConnection, step: Step) -> None:
        self._router.later(lambda: self._give_to(home, stream, connection, step))
        self._router.drain()

    def _give_to(self, home: int, stream: EmbeddedStream, connection: ClientConnection, step: Step) -> None:
        """Let the socket go to the home, with the state of its TLS if there is any; or the bytes, if it cannot."""
        if not stream.connection_id or step.account is None:
            return
        tls = connection.tls_state()
        if tls is None:
            self._relay_to(home, stream, connection, step)
            return
        record = Record(
            account=(step.account.local, step.account.domain),
            anonymous=step.anonymous,
            address=connection.client_address,
            port=connection.port,
            listen=self._listen_of(connection),
            say=step.data,
            received=stream.take_held(),
            tls=tls,
        )
        stream.let_go()
        self._give(home, record, connection.surrender())

    def _relay_to(self, home: int, stream: EmbeddedStream, connection: ClientConnection, step: Step) -> None:
        if step.account is not None and self.relay is not None:
            stream.say(step.data)
            received = stream.take_held()
            stream.let_go()
            self.relay.open(connection, home, step.account, step.anonymous, received)

    def _bind(self, stream: EmbeddedStream, step: Step) -> None:
        """Bind a resource; one that the client has chosen is asked for at the other nodes first."""
        login: Login = stream.login
        assert login.account is not None  # noqa: S101 - it is authenticated
        resource = None if login.anonymous else _normal(step.resource)
        if self.user_nodes is None or resource is None:
            self._bind_here(stream, step.resource)
            return

        def answered(taken: bool) -> None:
            if not stream.connection_id:
                return  # it has hung up meanwhile
            conflict = self._router.service.home.settings.resource_conflict
            if taken and conflict == "reject":
                self._follow(stream, login.refuse_bind("conflict", "This resource is bound already"))
            else:
                self._bind_here(stream, None if taken and conflict == "rename" else resource)
            stream.go_on()
            self._router.drain()

        stream.wait()
        self.user_nodes.claim(login.account.at(resource), answered)

    def _bind_here(self, stream: EmbeddedStream, resource: str | None) -> None:
        login: Login = stream.login
        assert login.account is not None  # noqa: S101 - it is authenticated
        try:
            session = self._router.service.bind(
                login.account, resource, self._router.now(), stream=stream, anonymous=login.anonymous
            )
        except BindError as error:
            self._follow(stream, login.refuse_bind(error.condition, error.text))
            return
        except StorageError:  # what is kept of this user cannot be read at the moment
            self._follow(stream, login.refuse_bind("resource-constraint", "Try again later"))
            return
        self._connections.pop(stream.connection_id, None)
        answer = login.bound(session.jid)
        self._sessions.bound(stream, session)
        stream.say(answer.data)

    def _resume(self, stream: EmbeddedStream, step: Step) -> None:
        login: Login = stream.login
        assert step.resume is not None  # noqa: S101 - RESUME has one
        assert login.account is not None  # noqa: S101 - it is authenticated
        found = self._sessions.resumable(step.resume.previd, login.account)
        if found is not None:
            self._connections.pop(stream.connection_id, None)
            self._sessions.resume(stream, found, step.resume, lambda: self._resume(stream, step))
            return
        handled = self._sessions.handled(step.resume.previd, login.account)
        if handled is None and self._fetch(stream, step):
            return
        self._refuse_resume(stream, handled)

    def _fetch(self, stream: EmbeddedStream, step: Step) -> bool:
        """Ask another node for the session that a client wants to resume; False if there is none to ask."""
        login: Login = stream.login
        assert step.resume is not None  # noqa: S101 - RESUME has one
        assert login.account is not None  # noqa: S101 - it is authenticated
        previd, account = step.resume.previd, login.account

        def fetched(handled: int | None) -> None:
            if not stream.connection_id:
                return  # it has hung up meanwhile: the session waits here
            found = self._sessions.resumable(previd, account)
            if found is not None and step.resume is not None:
                self._connections.pop(stream.connection_id, None)
                self._sessions.resume(stream, found, step.resume, lambda: self._resume(stream, step))
                if stream.session is None:
                    return  # it waits on, until all is safe
            else:
                self._follow(stream, login.refuse_resume(handled))
            stream.go_on()
            self._router.drain()

        if self.resuming is None or not self.resuming.fetch(account, previd, fetched):
            return False
        stream.wait()
        return True

    def _refuse_resume(self, stream: EmbeddedStream, handled: int | None) -> None:
        login: Login = stream.login
        if handled is None or self._promises.all_kept:
            self._follow(stream, login.refuse_resume(handled))
            return

        def refuse() -> None:
            if stream.connection_id:
                self._follow(stream, login.refuse_resume(handled))
                stream.go_on()
                self._router.drain()

        stream.wait()  # what is said to have been handled has to be safe
        self._promises.when_safe(refuse)


def _normal(resource: str | None) -> str | None:
    """Return a resource as it would be bound; None for none, and for what cannot be one."""
    try:
        return normalise_resource(resource) if resource else None
    except ValueError:
        return None


def _transport(connection: ClientConnection) -> Transport:
    tls = connection.tls
    address = connection.client_address
    counted = address_text(address)
    if ":" in counted:
        counted = address[:_IPV6_PREFIX_BYTES].hex()
    bindings = {}
    if tls is not None:
        if tls.exporter:
            bindings["tls-exporter"] = tls.exporter
        if tls.unique:
            bindings["tls-unique"] = tls.unique
    return Transport(encrypted=connection.in_tls, bindings=bindings, address=counted)
