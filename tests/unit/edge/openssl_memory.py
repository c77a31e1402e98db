"""A TLS client in memory on pyOpenSSL, for what Python's `ssl` cannot do: choose a suite, export keying material."""

from OpenSSL import SSL

READ_BYTES = 65_536


class OpenSSLMemory:
    """What it wants to send is taken with `output`, what has come is given with `take`."""

    def __init__(self, suite: str = "", server_name: str = "example.org") -> None:
        context = SSL.Context(SSL.TLS_CLIENT_METHOD)
        if suite:
            context.set_tls13_ciphersuites(suite.encode())
        context.set_alpn_protos([b"xmpp-client"])
        self.tls = SSL.Connection(context, None)
        self.tls.set_tlsext_host_name(server_name.encode())
        self.tls.set_connect_state()

    def handshake(self) -> bool:
        """Advance; True when it is done."""
        try:
            self.tls.do_handshake()
        except SSL.WantReadError:
            return False
        return True

    def output(self) -> bytes:
        """The ciphertext to be sent."""
        try:
            return self.tls.bio_read(READ_BYTES)
        except SSL.WantReadError:
            return b""

    def take(self, data: bytes) -> bytes:
        """Decrypt what has come, the handshake being done."""
        if data:
            self.tls.bio_write(data)
        plain = b""
        while True:
            try:
                plain += self.tls.recv(READ_BYTES)
            except SSL.WantReadError:
                return plain

    @property
    def exporter(self) -> bytes:
        """`tls-exporter` (RFC 9266) as the client knows it."""
        return self.tls.export_keying_material(b"EXPORTER-Channel-Binding", 32, None)
