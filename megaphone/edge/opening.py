"""The steps of a connection before it is relayed: PROXY header, the edge's own first stream, choice of the upstream.

Each happens once per connection, so this is ordinary Python; the connection calls in with the bytes it collected.
"""

from __future__ import annotations

import secrets
from typing import TYPE_CHECKING

from megaphone.dispatch.counters import Reason, Slot
from megaphone.edge.reasons import reason_of
from megaphone.errors import ProxyHeaderError
from megaphone.sockets.client_address import address_bytes, address_text
from megaphone.stream.domain import normalise_domain
from megaphone.stream.negotiation import Action, Negotiation
from megaphone.wire import framing_element, header, proxy_protocol, to_messages, writer
from megaphone.wire.link_open import Open, Transport
from megaphone.wire.websocket_writer import text_header

if TYPE_CHECKING:
    from megaphone.edge.clients import Clients
    from megaphone.edge.connection import ClientConnection

_TLS_VERSIONS = {"TLSv1.2": 0x0303, "TLSv1.3": 0x0304}


def admit(connection: ClientConnection, address: bytes) -> bool:
    """Count a client under its 16-byte address; one that is over a limit is told so and ended, and the answer is False.

    Before TLS a stream error can be read; in direct TLS it cannot.
    """
    refusal = connection.clients.admission.admit(connection, address)
    if refusal is None:
        return True
    if connection.listener.tls != "direct":
        error = writer.stream_error("policy-violation", "too many connections")
        connection.say(own_header(connection) + error + writer.STREAM_END)
    connection.finish("", refusal)
    return False


def take_proxy_header(connection: ClientConnection) -> None:
    """Read the PROXY header that a listed network must send first (edge.listener put the connection here)."""
    collected = connection.pending
    try:
        parsed = proxy_protocol.parse(collected)
    except ProxyHeaderError:
        connection.finish("", Reason.PROXY_HEADER)
        return
    if isinstance(parsed, proxy_protocol.NeedMore):
        return
    address, port = connection.client_address, connection.port
    if parsed.source is not None:
        address, port = address_bytes(parsed.source[0]), parsed.source[1]
    if admit(connection, address):
        connection.proxied(address, port, collected[parsed.length :])


def is_other_encoding(begun: bytes) -> bool:
    """Say whether a stream begins, up to its first byte that cannot be, as UTF-16 or UTF-32 (RFC 6120 section 11.6)."""
    return begun in (b"\xfe", b"\xff", b"\0", b"<\0")


def negotiate_header(connection: ClientConnection, data: bytes) -> None:
    """Answer the header of the stream that the edge handles itself (RFC 6120 section 5.4.1)."""
    negotiation = Negotiation(
        is_known_domain=connection.clients.domains.__contains__,
        starttls_required=connection.listener.starttls_required,
        default_domain=own_domain(connection.clients),
    )
    try:
        parsed = header.read_stream_header(data)
    except ValueError as error:
        _refuse(connection, str(error.args[0]))
        return
    connection.session = negotiation, parsed
    step = negotiation.receive_header(parsed, secrets.token_hex(8))
    connection.clients.board.add(Slot.STARTTLS_OFFERED, 1)
    if step.action is Action.OFFER:
        _open_uplink(connection, negotiation.domain or "")
        if not connection.closing:
            connection.offer_starttls()
        return
    connection.header_sent = True
    _follow(connection, step.data, step.action, step.condition)


def negotiate_element(connection: ClientConnection, data: bytes, bytes_after: int) -> None:
    """Answer a first-level element of the edge's own stream; nothing may follow <starttls/> in clear."""
    negotiation, stream = connection.session
    try:
        local_name, namespace = header.read_element(data, stream)
    except ValueError as error:
        _refuse(connection, str(error.args[0]))
        return
    step = negotiation.receive_element(local_name, namespace)
    if step.action is Action.START_TLS and bytes_after:
        # plaintext smuggled behind <starttls/> would be taken for protected (CVE-2011-0411)
        _refuse(connection, "policy-violation")
        return
    _follow(connection, step.data, step.action, step.condition)


def negotiate_end(connection: ClientConnection) -> None:
    """Answer `</stream:stream>` of a stream that the edge handles itself."""
    negotiation, _ = connection.session
    step = negotiation.receive_end()
    connection.say(step.data)
    connection.finish("", Reason.CLIENT_CLOSED)


def _refuse(connection: ClientConnection, condition: str) -> None:
    connection.finish(condition, reason_of(condition))


def _follow(connection: ClientConnection, data: bytes, action: Action, condition: str) -> None:
    if action is Action.START_TLS:
        connection.proceed(data)
        return
    if data:
        connection.say(data)
    if action is Action.CLOSE:
        connection.finish("", reason_of(condition))


def route(connection: ClientConnection, data: bytes) -> None:
    """Choose the domain of the stream in `data` and open its uplink; `attach` on success, a stream error otherwise."""
    clients = connection.clients
    try:
        parsed = header.read_stream_header(data)
    except ValueError as error:
        _refuse(connection, str(error.args[0]))
        return
    named = parsed.to or (connection.tls.server_name if connection.tls else None) or own_domain(clients)
    try:
        domain = normalise_domain(named)
    except ValueError:
        domain = ""
    if domain not in clients.domains:
        _refuse(connection, "host-unknown")
        return
    _open_uplink(connection, domain)


def _open_uplink(connection: ClientConnection, domain: str) -> None:
    connection.domain = domain
    owner = connection.clients.open_uplink(connection, domain)
    if isinstance(owner, str):
        _refuse(connection, owner)
        return
    connection.attach(owner)


def stream_error(connection: ClientConnection, condition: str) -> bytes:
    """Return the stream error of `condition`; for `see-other-host` the one that the worker has prepared.

    A redirection waits for TLS wherever there is TLS, as in clear it could be anybody's (RFC 6120 section 4.9.3.19):
    whoever has not started it is told `system-shutdown`, and so is everybody when there is no other host.
    """
    if condition != "see-other-host":
        return writer.stream_error(condition)
    prepared = connection.clients.see_other_host
    awaits_tls = connection.tls is None and connection.listener.tls != "none"
    return prepared if prepared and not awaits_tls else writer.stream_error("system-shutdown")


def last_messages(connection: ClientConnection, condition: str, opens: bool) -> bytes:
    """Return the frames that end a WebSocket's stream: <open/> if it `opens` only now, the error, <close/>."""
    opened = [framing_element.open_element(header.read_stream_header(own_header(connection)))] if opens else []
    said = b"".join([text_header(len(text)) + text for text in opened])
    said += to_messages.message(stream_error(connection, condition))
    return said + text_header(len(framing_element.CLOSE)) + framing_element.CLOSE


def own_header(connection: ClientConnection) -> bytes:
    """Return the stream header that must precede a stream error of the edge's own (RFC 6120 section 4.9.1.2)."""
    domain = connection.domain or own_domain(connection.clients)
    return writer.stream_header(from_domain=domain, to=None, stream_id=secrets.token_hex(8))


def own_domain(clients: Clients) -> str:
    """Return the only domain served here, or "" if there are several."""
    return next(iter(clients.domains)) if len(clients.domains) == 1 else ""


def proxy_header(connection: ClientConnection) -> bytes:
    """Return the PROXY v2 header that tells the upstream about this client."""
    tls = connection.tls
    return proxy_protocol.build_v2(
        source=(address_text(connection.client_address), connection.port),
        destination=connection.local_endpoint(),
        tls=None if tls is None else proxy_protocol.TlsFacts(version=tls.version, cipher=tls.cipher),
        alpn=(tls.alpn or None) if tls is not None else None,
        authority=connection.domain,
    )


def link_facts(connection: ClientConnection) -> bytes:
    """Return what OPEN says of this client on a link (docs/reference/link-protocol.md, Streams)."""
    tls = connection.tls
    client = address_text(connection.client_address), connection.port
    if connection.in_tls and tls is None:
        # a proxy does TLS and does not say which: this one at least, or servers would take the client for one without
        return Open(
            Transport.WEBSOCKET_TLS if connection.is_websocket else Transport.DIRECT_TLS,
            client=client,
            local=connection.local_endpoint(),
            tls_version=_TLS_VERSIONS["TLSv1.2"],
        ).encode()
    if tls is None or not tls.established:
        plain = Transport.WEBSOCKET if connection.is_websocket else Transport.TCP
        return Open(plain, client=client, local=connection.local_endpoint()).encode()
    return Open(
        _transport_in_tls(connection),
        client=client,
        local=connection.local_endpoint(),
        tls_version=_TLS_VERSIONS[tls.version],
        server_name=tls.server_name,
        alpn=tls.alpn or None,
        tls_exporter=tls.exporter,
        tls_unique=tls.unique,
        cipher=tls.cipher,
        edge_certificate=tls.certificate_hash,
    ).encode()


def _transport_in_tls(connection: ClientConnection) -> Transport:
    if connection.is_websocket:
        return Transport.WEBSOCKET_TLS
    return Transport.STARTTLS if connection.said_starttls else Transport.DIRECT_TLS


def is_returning(connection: ClientConnection) -> bool:
    """Say whether the client was here before: its TLS session went on from a ticket."""
    return connection.tls is not None and connection.tls.resumed
