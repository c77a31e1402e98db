"""TLS clients that share no code with us: programs of OpenSSL and GnuTLS on pipes, Python's `ssl`, and tlslite-ng.

Each carries bytes both ways over direct TLS 1.3 and, if its stack can, asks for new keys (KeyUpdate, RFC 8446 4.6.3).
"""

import contextlib
import select
import socket
import ssl
import subprocess
import threading
from pathlib import Path
from typing import Protocol

from tlslite.api import HandshakeSettings, TLSConnection
from tlslite.constants import KeyUpdateMessageType

from tests.servers.model import DOMAIN, Endpoint
from tests.servers.process import wait_until

READ_BYTES = 65_536
BLOCK_BYTES = 4_096  # PIPE_BUF, pipe(7)
PATIENCE_SECONDS = 60.0  # on a busy machine; nothing waits this long when it works


class Stack(Protocol):
    """One connection of a TLS stack; a thread collects what comes."""

    inbox: "Inbox"

    def send(self, data: bytes) -> None:
        """Encrypt and send."""

    def ask_for_new_keys(self) -> None:
        """KeyUpdate with a request for the other side's, if the stack can."""

    def renewed(self) -> int:
        """How often that was done, once it is closed."""

    def close(self) -> None:
        """End the connection."""


class Inbox:
    """What a reading thread has collected."""

    def __init__(self) -> None:
        self._data = bytearray()
        self._ended = False
        self._changed = threading.Condition()

    def put(self, data: bytes) -> None:
        """More has come; b"" is the end."""
        with self._changed:
            self._data += data
            self._ended = not data
            self._changed.notify_all()

    def take_through(self, mark: bytes, times: int = 1) -> bytes:
        """Wait for `mark` so many times; everything up to the last of them."""
        with self._changed:
            complete = self._changed.wait_for(
                lambda: self._ended or self._data.count(mark) >= times, timeout=PATIENCE_SECONDS
            )
            found = self._data.count(mark)
            assert complete, f"{found} of {times} {mark!r} came: {bytes(self._data[-500:])!r}"
            assert found >= times, f"the end, after {found} of {times} {mark!r}: {bytes(self._data[-500:])!r}"
            end = 0
            for _ in range(times):
                end = self._data.index(mark, end) + len(mark)
            data = bytes(self._data[:end])
            del self._data[:end]
            return data


class Program:
    """A command whose standard input and output are the connection."""

    new_keys = b""
    new_keys_done = b""

    def __init__(self, command: list[str], log: Path) -> None:
        self.inbox = Inbox()
        self._log = log
        with log.open("wb") as errors:
            self._child = subprocess.Popen(
                command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=errors, bufsize=0
            )
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()

    def _read(self) -> None:
        assert self._child.stdout is not None
        while data := self._child.stdout.read(READ_BYTES):
            self.inbox.put(data)
        self.inbox.put(b"")

    def write(self, data: bytes) -> None:
        """To its standard input."""
        assert self._child.stdin is not None
        view = memoryview(data)
        while view:
            view = view[self._child.stdin.write(view) :]

    def ask_for_new_keys(self) -> None:
        self.write(self.new_keys)

    def renewed(self) -> int:
        """How often it says that it has new keys; what it logs is complete when it is closed."""
        return self._log.read_bytes().count(self.new_keys_done)

    def close(self) -> None:
        assert self._child.stdin is not None
        self._child.stdin.close()
        try:
            self._child.wait(10.0)
        finally:
            self._child.kill()
            self._reader.join()
            assert self._child.stdout is not None
            self._child.stdout.close()


class OpenSSLProgram(Program):
    """`openssl s_client`, for which a read that begins with K is the command to ask for new keys."""

    new_keys = b"K\n"
    new_keys_done = b"KEYUPDATE"

    def __init__(self, endpoint: Endpoint, authority: Path) -> None:
        address = f"{endpoint.host}:{endpoint.port}"
        command = ["openssl", "s_client", "-connect", address, "-servername", DOMAIN, "-alpn", "xmpp-client", "-tls1_3"]
        trust = ["-CAfile", str(authority), "-verify_return_error", "-verify_hostname", DOMAIN]
        super().__init__([*command, *trust, "-quiet", "-no_ign_eof"], authority.with_name("s_client.log"))

    def send(self, data: bytes) -> None:
        """In blocks that the pipe does not split and that begin with a tag: other letters may be commands."""
        while len(data) > BLOCK_BYTES:
            end = data.rindex(b"><", 0, BLOCK_BYTES) + 1
            self.write(data[:end].ljust(BLOCK_BYTES))
            data = data[end:]
        self.write(data.ljust(BLOCK_BYTES))

    def ask_for_new_keys(self) -> None:
        """What it reads in one go with the command is lost, so it must have obeyed before anything else is said."""
        before = self.renewed()
        super().ask_for_new_keys()
        wait_until(lambda: self.renewed() > before, "new keys", PATIENCE_SECONDS)


class GnuTLSProgram(Program):
    """`gnutls-cli`, whose inline command ^rekey^ asks for new keys."""

    new_keys = b"^rekey^\n"
    new_keys_done = b"Rekey was completed"

    def __init__(self, endpoint: Endpoint, authority: Path) -> None:
        log = authority.with_name("gnutls-cli.log")
        log.touch()
        command = ["gnutls-cli", "--port", str(endpoint.port), "--sni-hostname", DOMAIN, "--verify-hostname", DOMAIN]
        options = ["--alpn", "xmpp-client", "--priority", "NORMAL:-VERS-ALL:+VERS-TLS1.3", "--inline-commands"]
        trust = ["--x509cafile", str(authority), "--logfile", str(log)]
        super().__init__([*command, *options, *trust, endpoint.host], log)

    def send(self, data: bytes) -> None:
        """In lines."""
        self.write(data.replace(b"><message", b">\n<message") + b"\n")


class Socket:
    """A stack of this process, on a socket."""

    def __init__(self, endpoint: Endpoint) -> None:
        self.inbox = Inbox()
        self.socket = socket.create_connection((endpoint.host, endpoint.port))
        self.socket.settimeout(PATIENCE_SECONDS)


class PythonSSL(Socket):
    """The standard library, in one thread at a time: what OpenSSL's objects want. So each waits outside of them."""

    def __init__(self, endpoint: Endpoint, authority: Path) -> None:
        super().__init__(endpoint)
        context = ssl.create_default_context(cafile=str(authority))
        context.minimum_version = ssl.TLSVersion.TLSv1_3
        context.set_alpn_protocols(["xmpp-client"])
        self._tls = context.wrap_socket(self.socket, server_hostname=DOMAIN)
        self._tls.setblocking(False)
        self._alone = threading.Lock()
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()

    def _read(self) -> None:
        with contextlib.suppress(OSError):
            while data := self._receive():
                self.inbox.put(data)
        self.inbox.put(b"")

    def _receive(self) -> bytes:
        while True:
            with self._alone, contextlib.suppress(ssl.SSLWantReadError):
                return self._tls.recv(READ_BYTES)
            select.select([self._tls], [], [], PATIENCE_SECONDS)

    def send(self, data: bytes) -> None:
        view = memoryview(data)
        while view:
            with self._alone, contextlib.suppress(ssl.SSLWantWriteError):
                view = view[self._tls.send(view) :]
                continue
            select.select([], [self._tls], [], PATIENCE_SECONDS)

    def ask_for_new_keys(self) -> None:
        """No call of the module does it."""

    def renewed(self) -> int:
        return 0

    def close(self) -> None:
        with self._alone, contextlib.suppress(OSError):
            self._tls.shutdown(socket.SHUT_RDWR)
        self._reader.join()
        self._tls.close()


class TLSLite(Socket):
    """tlslite-ng, TLS in Python alone; ChaCha20 is what it is quickest at."""

    def __init__(self, endpoint: Endpoint, authority: Path) -> None:
        del authority  # it checks no chain
        super().__init__(endpoint)
        settings = HandshakeSettings()
        settings.minVersion = settings.maxVersion = (3, 4)
        settings.cipherNames = ["chacha20-poly1305"]
        self._renewed = 0
        self._tls = TLSConnection(self.socket)
        self._tls.handshakeClientCert(serverName=DOMAIN, alpn=[b"xmpp-client"], settings=settings)
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()

    def _read(self) -> None:
        with contextlib.suppress(OSError):
            while data := self._tls.read(max=READ_BYTES, min=1):
                self.inbox.put(bytes(data))
        self.inbox.put(b"")

    def send(self, data: bytes) -> None:
        self._tls.write(data)

    def ask_for_new_keys(self) -> None:
        for _ in self._tls.send_keyupdate_request(KeyUpdateMessageType.update_requested):
            pass
        self._renewed += 1

    def renewed(self) -> int:
        return self._renewed

    def close(self) -> None:
        with contextlib.suppress(OSError):
            self.socket.shutdown(socket.SHUT_RDWR)
        self._reader.join()
        self.socket.close()
