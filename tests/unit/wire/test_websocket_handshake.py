"""The opening handshake: who is let in, and the exact answer to everyone else, as h11 and wsproto read it."""

from base64 import b64encode

import h11
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from wsproto import ConnectionType, WSConnection
from wsproto.events import AcceptConnection, Request

from megaphone.wire.websocket_handshake import Accepted, Refused, accept_value, answer

Fields = list[tuple[bytes, bytes]]

USUAL: Fields = [
    (b"host", b"example.org"),
    (b"upgrade", b"websocket"),
    (b"connection", b"Upgrade"),
    (b"sec-websocket-key", b"dGhlIHNhbXBsZSBub25jZQ=="),
    (b"origin", b"https://chat.example.org"),
    (b"sec-websocket-protocol", b"xmpp"),
    (b"sec-websocket-version", b"13"),
]


def changed(**values: bytes | list[bytes] | None) -> Fields:
    """The usual fields, some with another value, several, or none; names have _ for -."""
    fields = [(name, value) for name, value in USUAL if name.decode().replace("-", "_") not in values]
    for key, value in values.items():
        several = value if isinstance(value, list) else [] if value is None else [value]
        fields += [(key.replace("_", "-").encode(), each) for each in several]
    return fields


def read_response(response: bytes) -> tuple[int, dict[bytes, bytes], bytes]:
    """The response as h11's client reads it."""
    client = h11.Connection(h11.CLIENT)
    client.send(h11.Request(method="GET", target="/", headers=[("Host", "x"), ("Upgrade", "websocket")]))
    client.send(h11.EndOfMessage())
    client.receive_data(response)
    head = client.next_event()
    assert isinstance(head, h11.Response | h11.InformationalResponse)
    body = b""
    if isinstance(head, h11.Response):
        while isinstance(event := client.next_event(), h11.Data):
            body += event.data
        assert isinstance(event, h11.EndOfMessage)
        assert client.their_state is h11.MUST_CLOSE
    return head.status_code, dict(head.headers), body


def test_the_example_of_the_rfc() -> None:
    """RFC 6455 section 1.3, with the subprotocol of RFC 7395."""
    assert accept_value(b"dGhlIHNhbXBsZSBub25jZQ==") == b"s3pPLMBiTxaQ9kYGzzhZRbK+xOo="
    assert answer(b"GET", b"1.1", USUAL) == Accepted(
        b"HTTP/1.1 101 Switching Protocols\r\n"
        b"Upgrade: websocket\r\n"
        b"Connection: Upgrade\r\n"
        b"Sec-WebSocket-Accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=\r\n"
        b"Sec-WebSocket-Protocol: xmpp\r\n"
        b"\r\n"
    )


@pytest.mark.parametrize(
    "fields",
    [
        changed(upgrade=b"WebSocket"),
        changed(upgrade=[b"h2c", b"foo/2, websocket"]),
        changed(connection=b"keep-alive, upgrade"),
        changed(connection=[b"keep-alive", b"UPGRADE"]),
        changed(origin=None),
        changed(sec_websocket_protocol=b"chat,xmpp , soap"),
        changed(sec_websocket_protocol=[b"chat", b"xmpp"]),
        changed(sec_websocket_extensions=b"permessage-deflate; client_max_window_bits"),
        changed(content_length=b"0"),
        [(name.upper(), value) for name, value in USUAL],
    ],
)
def test_others_that_are_accepted(fields: Fields) -> None:
    accepted = answer(b"GET", b"1.1", fields, origins={b"https://chat.example.org"})
    assert isinstance(accepted, Accepted)
    status, headers, _ = read_response(accepted.response)
    assert status == 101
    assert headers.keys() == {b"upgrade", b"connection", b"sec-websocket-accept", b"sec-websocket-protocol"}


REFUSALS = [
    ("POST", b"POST", b"1.1", USUAL, 405),
    ("lower-case method", b"get", b"1.1", USUAL, 405),
    ("HTTP/1.0", b"GET", b"1.0", USUAL, 400),
    ("HTTP/2", b"GET", b"2", USUAL, 400),
    ("no host", b"GET", b"1.1", changed(host=None), 400),
    ("two hosts", b"GET", b"1.1", changed(host=[b"a", b"b"]), 400),
    ("plain request", b"GET", b"1.1", [(b"host", b"example.org")], 426),
    ("other upgrade", b"GET", b"1.1", changed(upgrade=b"h2c"), 426),
    ("upgrade that only begins so", b"GET", b"1.1", changed(upgrade=b"websocket2"), 426),
    ("connection does not name it", b"GET", b"1.1", changed(connection=b"keep-alive"), 400),
    ("no connection", b"GET", b"1.1", changed(connection=None), 400),
    ("no version", b"GET", b"1.1", changed(sec_websocket_version=None), 400),
    ("version 8", b"GET", b"1.1", changed(sec_websocket_version=b"8"), 426),
    ("version 13 spelt otherwise", b"GET", b"1.1", changed(sec_websocket_version=b"013"), 426),
    ("two versions", b"GET", b"1.1", changed(sec_websocket_version=[b"13", b"13"]), 400),
    ("no key", b"GET", b"1.1", changed(sec_websocket_key=None), 400),
    ("two keys", b"GET", b"1.1", changed(sec_websocket_key=[b"dGhlIHNhbXBsZSBub25jZQ=="] * 2), 400),
    ("key of 15 bytes", b"GET", b"1.1", changed(sec_websocket_key=b64encode(bytes(15))), 400),
    ("key of 17 bytes", b"GET", b"1.1", changed(sec_websocket_key=b64encode(bytes(17))), 400),
    ("key not in base64", b"GET", b"1.1", changed(sec_websocket_key=b"dGhlIHNhbXBsZSBub25jZ.=="), 400),
    ("key with a line end", b"GET", b"1.1", changed(sec_websocket_key=b"dGhlIHNhbXBsZSBub25jZQ==\n"), 400),
    ("no subprotocol", b"GET", b"1.1", changed(sec_websocket_protocol=None), 400),
    ("other subprotocol", b"GET", b"1.1", changed(sec_websocket_protocol=b"mqtt"), 400),
    ("subprotocol in capitals", b"GET", b"1.1", changed(sec_websocket_protocol=b"XMPP"), 400),
    ("subprotocol twice", b"GET", b"1.1", changed(sec_websocket_protocol=b"xmpp, xmpp"), 400),
    ("subprotocol no token", b"GET", b"1.1", changed(sec_websocket_protocol=b"xmpp, a/b"), 400),
    ("other origin", b"GET", b"1.1", changed(origin=b"https://evil.example"), 403),
    ("two origins", b"GET", b"1.1", changed(origin=[b"https://chat.example.org", b"https://evil.example"]), 400),
    ("body", b"GET", b"1.1", changed(content_length=b"5"), 400),
    ("chunked body", b"GET", b"1.1", changed(transfer_encoding=b"chunked"), 400),
]


@pytest.mark.parametrize(
    ("method", "version", "fields", "status"), [each[1:] for each in REFUSALS], ids=[each[0] for each in REFUSALS]
)
def test_refusals(method: bytes, version: bytes, fields: Fields, status: int) -> None:
    refused = answer(method, version, fields, origins={b"https://chat.example.org"})
    assert isinstance(refused, Refused)
    assert refused.status == status
    got, headers, body = read_response(refused.response)
    assert got == status
    assert body.decode() == refused.reason + "\n"
    assert headers.get(b"allow") == (b"GET" if status == 405 else None)
    assert headers.get(b"sec-websocket-version") == (b"13" if status == 426 else None)
    assert headers.get(b"upgrade") == (b"websocket" if status == 426 else None)
    assert headers[b"connection"] == (b"Upgrade, close" if status == 426 else b"close")


def test_a_client_of_wsproto_is_accepted_and_accepts() -> None:
    peer = WSConnection(ConnectionType.CLIENT)
    server = h11.Connection(h11.SERVER)
    server.receive_data(peer.send(Request(host="example.org", target="/xmpp-websocket", subprotocols=["xmpp"])))
    request = server.next_event()
    assert isinstance(request, h11.Request)
    accepted = answer(request.method, request.http_version, list(request.headers))
    assert isinstance(accepted, Accepted)
    peer.receive_data(accepted.response)
    (event,) = peer.events()
    assert isinstance(event, AcceptConnection)
    assert (event.subprotocol, event.extensions) == ("xmpp", [])


@settings(max_examples=200, derandomize=True, deadline=None)
@given(
    st.sampled_from([b"GET", b"POST"]) | st.binary(max_size=5),
    st.sampled_from([b"1.1", b"1.0"]) | st.binary(max_size=4),
    st.lists(st.tuples(st.sampled_from([name for name, _ in USUAL]) | st.binary(max_size=6), st.binary(max_size=20))),
    st.sets(st.integers(0, len(USUAL) - 1)),
)
def test_nothing_of_a_request_gets_into_the_answer(
    method: bytes, version: bytes, fields: Fields, left_out: set[int]
) -> None:
    kept = [field for index, field in enumerate(USUAL) if index not in left_out]
    answered = answer(method, version, kept + fields)
    if isinstance(answered, Refused):
        assert answered.response == {
            refused.response: refused.response
            for refused in (answer(*each[1:4], origins={b"https://chat.example.org"}) for each in REFUSALS)
        }.get(answered.response)
    else:
        assert not left_out & {0, 1, 2, 3, 5, 6}
        assert answered == answer(b"GET", b"1.1", USUAL)
