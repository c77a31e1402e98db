"""The candidates behind one interface: ciphertext in, plaintext out, and back; and no TLS at all, to subtract.

Every engine offers `take(data) -> plaintext or None at the end`, `say(plaintext)` and `output() -> ciphertext`.
"""

import ssl
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

from OpenSSL import SSL

READ_BYTES = 65_536
ALPN = "xmpp-client"
shared = bytearray(READ_BYTES)
shared_view = memoryview(shared)


class Plain:
    """No TLS."""

    __slots__ = ("_said",)

    def __init__(self) -> None:
        self._said = b""

    def take(self, data: memoryview) -> bytes | None:
        """The bytes as they came."""
        return bytes(data)

    def say(self, data: bytes) -> None:
        """Keep for `output`."""
        self._said += data

    def output(self) -> bytes:
        """What was said."""
        said, self._said = self._said, b""
        return said


class Standard:
    """`ssl.SSLObject` of the standard library on two memory BIOs, decrypting into one shared buffer."""

    __slots__ = ("_established", "_incoming", "_outgoing", "_tls")

    def __init__(self, context: ssl.SSLContext) -> None:
        self._incoming = ssl.MemoryBIO()
        self._outgoing = ssl.MemoryBIO()
        self._tls = context.wrap_bio(self._incoming, self._outgoing, server_side=True)
        self._established = False

    def take(self, data: memoryview) -> bytes | None:
        """Decrypt; b"" while the handshake goes on."""
        self._incoming.write(data)
        taken = b""
        try:
            if not self._established:
                self._tls.do_handshake()
                self._established = True
            while True:
                length = self._tls.read(READ_BYTES, shared)  # type: ignore[arg-type]
                if not length:
                    return None
                taken += shared_view[:length]
        except ssl.SSLWantReadError:
            return taken

    def say(self, data: bytes) -> None:
        """Encrypt."""
        self._tls.write(data)

    def output(self) -> bytes:
        """The ciphertext produced."""
        return self._outgoing.read()


class PyOpenSSL:
    """`OpenSSL.SSL.Connection` without a socket, decrypting into one shared buffer."""

    __slots__ = ("_established", "_tls")

    def __init__(self, context: SSL.Context) -> None:
        self._tls = SSL.Connection(context, None)
        self._tls.set_accept_state()
        self._established = False

    def take(self, data: memoryview) -> bytes | None:
        """Decrypt; b"" while the handshake goes on."""
        self._tls.bio_write(bytes(data))
        taken = b""
        try:
            if not self._established:
                self._tls.do_handshake()
                self._established = True
            while True:
                length = self._tls.recv_into(shared)
                taken += shared_view[:length]
        except SSL.WantReadError:
            return taken
        except SSL.ZeroReturnError:
            return None

    def say(self, data: bytes) -> None:
        """Encrypt."""
        self._tls.sendall(data)

    def output(self) -> bytes:
        """The ciphertext produced."""
        try:
            return self._tls.bio_read(READ_BYTES)
        except SSL.WantReadError:
            return b""


def _standard(chain: Path, key: Path) -> Callable[[], Any]:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)  # sets SSL_MODE_RELEASE_BUFFERS itself
    context.load_cert_chain(chain, key)
    context.set_alpn_protocols([ALPN])
    return lambda: Standard(context)


def _pyopenssl(chain: Path, key: Path) -> Callable[[], Any]:
    context = SSL.Context(SSL.TLS_SERVER_METHOD)
    context.use_certificate_chain_file(chain)
    context.use_privatekey_file(key)
    context.set_mode(SSL.MODE_RELEASE_BUFFERS)
    context.set_session_cache_mode(SSL.SESS_CACHE_OFF)
    context.set_alpn_select_callback(lambda _, __: ALPN.encode())
    return lambda: PyOpenSSL(context)


def _libssl(record_layer: str, chain: Path, key: Path) -> Callable[[], Any]:
    from tests.bench.build import extension

    engine = extension("libssl")
    choice = engine.context(str(chain), str(key), record_layer)
    return lambda: engine.Libssl(choice)


MAKERS: dict[str, Callable[[Path, Path], Callable[[], Any]]] = {
    "plain": lambda _, __: Plain,
    "ssl.SSLObject": _standard,
    "pyOpenSSL": _pyopenssl,
    "Cython on libssl": partial(_libssl, "openssl"),
    "records of our own": partial(_libssl, "own"),
}
