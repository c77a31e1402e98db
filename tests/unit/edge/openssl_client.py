"""A TLS client straight on OpenSSL's C interface, for what Python's `ssl` cannot do: TLS 1.3 key updates."""

import ctypes
import ctypes.util
import socket

_KEY_UPDATE_REQUESTED = 1
_POINTER, _INT = ctypes.c_void_p, ctypes.c_int


def _library() -> ctypes.CDLL:
    library = ctypes.CDLL(ctypes.util.find_library("ssl"))
    for name, result, arguments in (
        ("TLS_client_method", _POINTER, []),
        ("SSL_CTX_new", _POINTER, [_POINTER]),
        ("SSL_CTX_free", None, [_POINTER]),
        ("SSL_new", _POINTER, [_POINTER]),
        ("SSL_free", None, [_POINTER]),
        ("SSL_set_fd", _INT, [_POINTER, _INT]),
        ("SSL_connect", _INT, [_POINTER]),
        ("SSL_write", _INT, [_POINTER, ctypes.c_char_p, _INT]),
        ("SSL_read", _INT, [_POINTER, ctypes.c_char_p, _INT]),
        ("SSL_key_update", _INT, [_POINTER, _INT]),
        ("SSL_do_handshake", _INT, [_POINTER]),
    ):
        function = getattr(library, name)
        function.restype, function.argtypes = result, arguments
    return library


class OpenSSLClient:
    """Writes into a non-blocking socket, and reads only when it is told to."""

    def __init__(self, sock: socket.socket) -> None:
        self._library = _library()
        self._context = self._library.SSL_CTX_new(self._library.TLS_client_method())
        self._ssl = self._library.SSL_new(self._context)
        self._library.SSL_set_fd(self._ssl, sock.fileno())

    def handshake(self) -> bool:
        """Advance; True when it is done."""
        return bool(self._library.SSL_connect(self._ssl) == 1)

    def write(self, data: bytes) -> bool:
        return bool(self._library.SSL_write(self._ssl, data, len(data)) == len(data))

    def read(self) -> bytes:
        """What has come, decrypted."""
        plain, buffer = b"", ctypes.create_string_buffer(16_384)
        while (length := self._library.SSL_read(self._ssl, buffer, 16_384)) > 0:
            plain += buffer.raw[:length]
        return plain

    def ask_for_new_keys(self) -> None:
        """RFC 8446 section 4.6.3: the other side has to answer with a key update of its own."""
        self._library.SSL_key_update(self._ssl, _KEY_UPDATE_REQUESTED)
        self._library.SSL_do_handshake(self._ssl)

    def close(self) -> None:
        self._library.SSL_free(self._ssl)
        self._library.SSL_CTX_free(self._context)
