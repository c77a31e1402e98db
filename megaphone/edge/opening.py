"""The steps of a connection before it is relayed: PROXY header, the edge's own first stream, choice of the upstream.

Each happens once per connection, so this is ordinary Python; the connection calls in with the bytes it collected.
"""

from __future__ import annotations

import ipaddress
import secrets
from typing import TYPE_CHECKING, Any

from megaphone.dispatch.counters import Reason, Slot
from megaphone.errors import ProxyHeaderError
from megaphone.stream.jid import normalise_domain
from megaphone.stream.negotiation import Action, Negotiation
from megaphone.wire import header, proxy_protocol, writer
from megaphone.wire.writer import offer_starttls

if TYPE_CHECKING:
    from megaphone.edge.clients import Clients
    from megaphone.edge.connection import ClientConnection

__all__ = ["offer_starttls"]  # for the compiled connection, which calls this module only

_REASON_OF_CONDITION = {
    "host-unknown": Reason.HOST_UNKNOWN,
    "policy-violation": Reason.POLICY_VIOLATION,
    "not-well-formed": Reason.NOT_WELL_FORMED,
    "restricted-xml": Reason.RESTRICTED_XML,
    "remote-connection-failed": Reason.REMOTE_CONNECTION_FAILED,
    "resource-constraint": Reason.RESOURCE_CONSTRAINT,
}


def reason_of(condition: str) -> Reason:
    """Return the closing reason that a stream-error condition is counted under."""
    return _REASON_OF_CONDITION.get(condition, Reason.INVALID_XML)


def address_text(packed: bytes) -> str:
    """Return the usual text of a 16-byte address; IPv4-mapped ones as IPv4."""
    address = ipaddress.IPv6Address(packed)
    return str(address.ipv4_mapped or address)


def address_bytes(text: str) -> bytes:
    """Return the 16 bytes of an IPv4 or IPv6 address, IPv4 mapped into IPv6."""
    address = ipaddress.ip_address(text)
    if isinstance(address, ipaddress.IPv4Address):
        return b"\0" * 10 + b"\xff\xff" + address.packed
    return address.packed


def take_proxy_header(connection: ClientConnection) -> None:
    """Read the PROXY header that a listed network must send first (edge.listener put the connection here)."""
    collected = connection.collected
    try:
        parsed = proxy_protocol.parse(collected)
    except ProxyHeaderError:
        connection.finish("", Reason.PROXY_HEADER)
        return
    if isinstance(parsed, proxy_protocol.NeedMore):
        return
    address, port = connection.client_address, connection.client_port
    if parsed.source is not None:
        address, port = address_bytes(parsed.source[0]), parsed.source[1]
    refusal = connection.clients.admission.admit(connection, address)
    if refusal is not None:
        connection.say(refusal_for(connection.clients, connection.listener.tls))
        connection.finish("", refusal)
        return
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
        connection.finish(str(error.args[0]), reason_of(str(error.args[0])))
        return
    connection.session = negotiation, parsed
    step = negotiation.receive_header(parsed, secrets.token_hex(8))
    connection.clients.board.add(Slot.STARTTLS_OFFERED, 1)
    if step.action is Action.OFFER:
        _open_uplink(connection, negotiation.domain or "")
        if not connection.closing:
            connection.offer_starttls()
        return
    connection.note_header_sent()
    _follow(connection, step.data, step.action, step.condition)


def negotiate_element(connection: ClientConnection, data: bytes, bytes_after: int) -> None:
    """Answer a first-level element of the edge's own stream; nothing may follow <starttls/> in clear."""
    negotiation, stream = connection.session
    try:
        local_name, namespace = header.read_element(data, stream)
    except ValueError as error:
        connection.finish(str(error.args[0]), reason_of(str(error.args[0])))
        return
    step = negotiation.receive_element(local_name, namespace)
    if step.action is Action.START_TLS and bytes_after:
        # plaintext smuggled behind <starttls/> would be taken for protected (CVE-2011-0411)
        connection.finish("policy-violation", Reason.POLICY_VIOLATION)
        return
    _follow(connection, step.data, step.action, step.condition)


def negotiate_end(connection: ClientConnection) -> None:
    """Answer `</stream:stream>` of a stream that the edge handles itself."""
    negotiation, _ = connection.session
    step = negotiation.receive_end()
    connection.say(step.data)
    connection.finish("", Reason.CLIENT_CLOSED)


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
        connection.finish(str(error.args[0]), reason_of(str(error.args[0])))
        return
    named = parsed.to or (connection.tls.server_name if connection.tls else None) or own_domain(clients)
    try:
        domain = normalise_domain(named)
    except ValueError:
        domain = ""
    if domain not in clients.domains:
        connection.finish("host-unknown", Reason.HOST_UNKNOWN)
        return
    _open_uplink(connection, domain)


def _open_uplink(connection: ClientConnection, domain: str) -> None:
    connection.domain_name = domain
    owner = connection.clients.open_uplink(connection, domain)
    if isinstance(owner, str):
        connection.finish(owner, reason_of(owner))
        return
    connection.attach(owner)


def own_header(connection: ClientConnection) -> bytes:
    """Return the stream header that must precede a stream error of the edge's own (RFC 6120 section 4.9.1.2)."""
    domain = connection.domain_name or own_domain(connection.clients)
    return writer.stream_header(from_domain=domain, to=None, stream_id=secrets.token_hex(8))


def refusal_for(clients: Clients, tls: str) -> bytes:
    """Return the answer to a client over a limit: before TLS a stream error can be read, in direct TLS it cannot."""
    if tls == "direct":
        return b""
    header = writer.stream_header(from_domain=own_domain(clients), to=None, stream_id=secrets.token_hex(8))
    return header + writer.stream_error("policy-violation", "too many connections") + writer.STREAM_END


def own_domain(clients: Clients) -> str:
    """Return the only domain served here, or "" if there are several."""
    return next(iter(clients.domains)) if len(clients.domains) == 1 else ""


def proxy_header(connection: ClientConnection) -> bytes:
    """Return the PROXY v2 header that tells the upstream about this client."""
    tls = connection.tls
    return proxy_protocol.build_v2(
        source=(address_text(connection.client_address), connection.client_port),
        destination=connection.local_endpoint(),
        tls=None if tls is None else proxy_protocol.TlsFacts(version=tls.version, cipher=tls.cipher),
        alpn=(tls.alpn or None) if tls is not None else None,
        authority=connection.domain_name,
    )


def describe(
    connection: ClientConnection,
    state: str,
    domain: str | None,
    jid: str | None,
    upstream: str | None,
    age_seconds: float,
    bytes_in: int,
    bytes_out: int,
) -> dict[str, Any]:
    """Return one connection as `megaphone connections --json` shows it."""
    tls = connection.tls
    return {
        "id": f"{connection.id:016x}",
        "worker": connection.id >> 54,
        "state": state,
        "address": address_text(connection.client_address),
        "port": connection.client_port,
        "jid": jid,
        "domain": domain,
        "tls": tls.version if tls is not None and tls.established else None,
        "upstream": upstream,
        "age_seconds": round(age_seconds, 3),
        "bytes_in": bytes_in,
        "bytes_out": bytes_out,
    }
