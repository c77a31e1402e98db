"""Frames whose payload has not the documented form; every codec of a server side refuses each of them."""

from tests.link.frames import Hello, Open, Shutdown, Type, raw

HELLO = Hello(b"n" * 16, b"s" * 16, proof=b"p" * 32)
NAMELESS = Hello(b"n" * 16, b"s" * 16, name="", proof=b"p" * 32)
OPEN = Open().encode()
MALFORMED = {
    "magic": raw(Type.HELLO, 0, b"XMPP" + HELLO.encode()[4:]),
    "name too long": raw(Type.HELLO, 0, NAMELESS.encode()[:57] + b"\x01" + NAMELESS.encode()[58:]),
    "name not UTF-8": raw(Type.HELLO, 0, HELLO.encode().replace(b"reference", b"referenc\xff")),
    "window too small": raw(Type.HELLO, 0, Hello(b"n" * 16, b"s" * 16, window=4_095, proof=b"p" * 32).encode()),
    "window too large": raw(Type.HELLO, 0, Hello(b"n" * 16, b"s" * 16, window=1_048_577, proof=b"p" * 32).encode()),
    "transport 0": raw(Type.OPEN, 1, b"\0" + OPEN[1:]),
    "transport 6": raw(Type.OPEN, 1, b"\x06" + OPEN[1:]),
    "family 5": raw(Type.OPEN, 1, OPEN[:1] + b"\x05" + OPEN[2:]),
    "IPv4 with 16 bytes": raw(Type.OPEN, 1, OPEN[:2] + b"\x01" * 16 + OPEN[18:]),
    "field without length": raw(Type.OPEN, 1, OPEN + b"\x01"),
    "field cut short": raw(Type.OPEN, 1, OPEN + b"\x01\x00\x05host"),
    "field twice": raw(Type.OPEN, 1, OPEN + b"\x02\x00\x01a\x02\x00\x01a"),
    "exporter of 31 bytes": raw(Type.OPEN, 1, OPEN + b"\x03\x00\x1f" + b"e" * 31),
    "unique of 11 bytes": raw(Type.OPEN, 1, OPEN + b"\x04\x00\x0b" + b"u" * 11),
    "server name not UTF-8": raw(Type.OPEN, 1, OPEN + b"\x01\x00\x01\xff"),
    "text not UTF-8": raw(Type.SHUTDOWN, 0, Shutdown().encode() + b"\xff"),
    "link reason on a stream": raw(Type.SHUTDOWN, 1, Shutdown(0, 16).encode()),
}
