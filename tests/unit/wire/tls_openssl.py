"""OpenSSL itself as the peer, through ctypes: handshake, KeyUpdate, padding and fragments as a test wants them.

Python's `ssl` has neither SSL_key_update nor padding nor a view of the alerts that OpenSSL hears.
"""

import ctypes
from ctypes import CFUNCTYPE, c_char_p, c_int, c_long, c_size_t, c_uint64, c_void_p, create_string_buffer
from ctypes.util import find_library
from dataclasses import dataclass, field
from typing import Any

from megaphone.wire.tls_end import TLSEnd
from tests.servers.certificates import CertificateFiles
from tests.unit.wire.tls_model import NAMES, records_of

libssl = ctypes.CDLL(find_library("ssl"))
libcrypto = ctypes.CDLL(find_library("crypto"))

KeyLog = CFUNCTYPE(None, c_void_p, c_char_p)
Info = CFUNCTYPE(None, c_void_p, c_int, c_int)
Padding = CFUNCTYPE(c_size_t, c_void_p, c_int, c_size_t, c_void_p)

SSL_ERROR_SSL, SSL_ERROR_WANT_READ, SSL_ERROR_ZERO_RETURN = 1, 2, 6
SSL_CTRL_SET_MAX_SEND_FRAGMENT, SSL_CTRL_SET_MIN_PROTO_VERSION = 52, 123
SSL_CB_READ_ALERT = 0x4004
SSL_FILETYPE_PEM = 1
TLS1_3_VERSION = 0x0304


def declare(library: ctypes.CDLL, name: str, result: Any, *arguments: Any) -> Any:
    function = getattr(library, name)
    function.restype = result
    function.argtypes = arguments
    return function


SSL_CTX_new = declare(libssl, "SSL_CTX_new", c_void_p, c_void_p)
SSL_CTX_free = declare(libssl, "SSL_CTX_free", None, c_void_p)
SSL_CTX_ctrl = declare(libssl, "SSL_CTX_ctrl", c_long, c_void_p, c_int, c_long, c_void_p)
SSL_CTX_set_ciphersuites = declare(libssl, "SSL_CTX_set_ciphersuites", c_int, c_void_p, c_char_p)
SSL_CTX_set_keylog_callback = declare(libssl, "SSL_CTX_set_keylog_callback", None, c_void_p, KeyLog)
SSL_CTX_set_info_callback = declare(libssl, "SSL_CTX_set_info_callback", None, c_void_p, Info)
SSL_CTX_set_num_tickets = declare(libssl, "SSL_CTX_set_num_tickets", c_int, c_void_p, c_size_t)
SSL_CTX_use_certificate_chain_file = declare(libssl, "SSL_CTX_use_certificate_chain_file", c_int, c_void_p, c_char_p)
SSL_CTX_use_PrivateKey_file = declare(libssl, "SSL_CTX_use_PrivateKey_file", c_int, c_void_p, c_char_p, c_int)
SSL_CTX_set_padding = declare(libssl, "SSL_CTX_set_record_padding_callback", None, c_void_p, Padding)
SSL_new = declare(libssl, "SSL_new", c_void_p, c_void_p)
SSL_free = declare(libssl, "SSL_free", None, c_void_p)
SSL_set_bio = declare(libssl, "SSL_set_bio", None, c_void_p, c_void_p, c_void_p)
SSL_set_accept_state = declare(libssl, "SSL_set_accept_state", None, c_void_p)
SSL_set_connect_state = declare(libssl, "SSL_set_connect_state", None, c_void_p)
SSL_do_handshake = declare(libssl, "SSL_do_handshake", c_int, c_void_p)
SSL_read = declare(libssl, "SSL_read", c_int, c_void_p, c_void_p, c_int)
SSL_write = declare(libssl, "SSL_write", c_int, c_void_p, c_char_p, c_int)
SSL_shutdown = declare(libssl, "SSL_shutdown", c_int, c_void_p)
SSL_get_error = declare(libssl, "SSL_get_error", c_int, c_void_p, c_int)
SSL_key_update = declare(libssl, "SSL_key_update", c_int, c_void_p, c_int)
SSL_ctrl = declare(libssl, "SSL_ctrl", c_long, c_void_p, c_int, c_long, c_void_p)
TLS_method = declare(libssl, "TLS_method", c_void_p)
BIO_new = declare(libcrypto, "BIO_new", c_void_p, c_void_p)
BIO_s_mem = declare(libcrypto, "BIO_s_mem", c_void_p)
BIO_read = declare(libcrypto, "BIO_read", c_int, c_void_p, c_void_p, c_int)
BIO_write = declare(libcrypto, "BIO_write", c_int, c_void_p, c_char_p, c_int)
ERR_clear_error = declare(libcrypto, "ERR_clear_error", None)
OPENSSL_init_ssl = declare(libssl, "OPENSSL_init_ssl", c_int, c_uint64, c_void_p)


@dataclass(slots=True)
class Habits:
    """What a peer does to its records: bytes of padding of one after the other, in turn; the longest content."""

    paddings: list[int] = field(default_factory=list)
    fragment_bytes: int = 16384


class OpenSSL:
    """One side of a connection, on memory."""

    def __init__(
        self, suite: int, certificate: CertificateFiles | None, habits: Habits | None = None, tickets: int = 2
    ) -> None:
        """With a `certificate` it is the server."""
        self.suite = suite
        self.secrets: dict[str, bytes] = {}
        self.alerts: list[int] = []  # descriptions that it has heard
        self.ended = ""  # "closed", "broken"
        self._paddings = list(habits.paddings) if habits else []
        self.context = SSL_CTX_new(TLS_method())
        assert self.context
        # callbacks live as long as this object
        self._callbacks = (KeyLog(self._on_secret), Info(self._on_info), Padding(self._on_padding))
        SSL_CTX_ctrl(self.context, SSL_CTRL_SET_MIN_PROTO_VERSION, TLS1_3_VERSION, None)
        assert SSL_CTX_set_ciphersuites(self.context, NAMES[suite].encode()) == 1
        SSL_CTX_set_keylog_callback(self.context, self._callbacks[0])
        SSL_CTX_set_info_callback(self.context, self._callbacks[1])
        SSL_CTX_set_num_tickets(self.context, tickets)
        if certificate is not None:
            assert SSL_CTX_use_certificate_chain_file(self.context, str(certificate.chain).encode()) == 1
            assert SSL_CTX_use_PrivateKey_file(self.context, str(certificate.key).encode(), SSL_FILETYPE_PEM) == 1
        self.ssl = SSL_new(self.context)
        self._input, self._output = BIO_new(BIO_s_mem()), BIO_new(BIO_s_mem())
        SSL_set_bio(self.ssl, self._input, self._output)
        if certificate is None:
            SSL_set_connect_state(self.ssl)
        else:
            SSL_set_accept_state(self.ssl)
        self._fragment_bytes = habits.fragment_bytes if habits else 16384
        self._buffer = create_string_buffer(65536)

    def __del__(self) -> None:
        SSL_free(self.ssl)
        SSL_CTX_free(self.context)

    def _on_secret(self, ssl: int, line: bytes) -> None:
        label, _, secret = line.decode().split()
        self.secrets[label] = bytes.fromhex(secret)

    def _on_info(self, ssl: int, where: int, result: int) -> None:
        if where == SSL_CB_READ_ALERT:
            self.alerts.append(result & 0xFF)

    def _on_padding(self, ssl: int, kind: int, length: int, argument: int) -> int:
        padding = self._paddings.pop(0) if self._paddings else 0
        self._paddings.append(padding)
        return min(padding, 16384 - length)

    def handshake(self) -> bool:
        """Goes on with the handshake; whether it is done. Habits begin when it is."""
        ERR_clear_error()
        result = SSL_do_handshake(self.ssl)
        if result == 1:
            if self._paddings:
                libssl.SSL_set_record_padding_callback(c_void_p(self.ssl), self._callbacks[2])
            SSL_ctrl(self.ssl, SSL_CTRL_SET_MAX_SEND_FRAGMENT, self._fragment_bytes, None)
            return True
        assert SSL_get_error(self.ssl, result) == SSL_ERROR_WANT_READ
        return False

    def receive(self, data: bytes) -> None:
        assert not data or BIO_write(self._input, data, len(data)) == len(data)

    def sent(self) -> bytes:
        """What it has put on the wire since the last call."""
        parts = []
        while (size := BIO_read(self._output, self._buffer, len(self._buffer))) > 0:
            parts.append(self._buffer.raw[:size])
        return b"".join(parts)

    def read(self) -> bytes:
        """All plaintext that there is; `ended` says how it ended."""
        parts = []
        while not self.ended:
            ERR_clear_error()
            size = SSL_read(self.ssl, self._buffer, len(self._buffer))
            if size > 0:
                parts.append(self._buffer.raw[:size])
                continue
            error = SSL_get_error(self.ssl, size)
            if error == SSL_ERROR_WANT_READ:
                break
            self.ended = "closed" if error == SSL_ERROR_ZERO_RETURN else "broken"
        return b"".join(parts)

    def write(self, data: bytes) -> None:
        if data:
            ERR_clear_error()
            assert SSL_write(self.ssl, data, len(data)) == len(data)

    def update(self, requested: bool) -> None:
        """A KeyUpdate at once."""
        ERR_clear_error()
        assert SSL_key_update(self.ssl, int(requested)) == 1
        assert SSL_do_handshake(self.ssl) == 1

    def close(self) -> None:
        ERR_clear_error()
        SSL_shutdown(self.ssl)


def connect(
    suite: int, certificate: CertificateFiles, *, is_client: bool, habits: Habits | None = None, tickets: int = 2
) -> tuple[TLSEnd, OpenSSL, bytes]:
    """A handshake between two OpenSSLs, of which one is replaced by a record layer then: that, the other, and what
    the record layer has still to read (a client's: the tickets)."""
    client = OpenSSL(suite, None, None if is_client else habits)
    server = OpenSSL(suite, certificate, habits if is_client else None, tickets)
    client.handshake()
    server.receive(client.sent())
    server.handshake()
    client.receive(server.sent())
    assert client.handshake()
    server.receive(client.sent())
    assert server.handshake()
    said = server.sent()
    assert len(records_of(said)) == tickets
    theirs, ours = (server.secrets[f"{name}_TRAFFIC_SECRET_0"] for name in ("CLIENT", "SERVER"))
    if is_client:
        return TLSEnd(suite, ours, theirs, is_client=True), server, said
    client.receive(said)
    client.read()
    return TLSEnd(suite, theirs, ours, outgoing_sequence=tickets), client, b""
