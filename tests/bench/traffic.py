"""What the framer is measured with: the reference chunk, realistic mixes, and the corners where it works hardest."""

HEADER = (
    b"<?xml version='1.0'?><stream:stream xmlns='jabber:client' xmlns:stream='http://etherx.jabber.org/streams'"
    b" to='example.org' version='1.0'>"
)
MESSAGE_BYTES = 207
CORNER_BYTES = 65_536


def message(number: int, text: str = "", size: int = MESSAGE_BYTES) -> bytes:
    """A chat message with XEP-0085's chat state; without a text it is filled up to `size` bytes."""
    begin = (
        f"<message from='juliet@example.com/balcony' to='romeo@example.net' type='chat' id='m{number:04}'><body>"
    ).encode()
    end = b"</body><active xmlns='http://jabber.org/protocol/chatstates'/></message>"
    filling = b"Wherefore art thou, Romeo? "
    return begin + (text.encode() or (filling * 9)[: size - len(begin) - len(end)]) + end


REFERENCE = b"".join(message(number) for number in range(7))
PRESENCE = b"".join(
    [
        b"<presence from='juliet@example.com/balcony' to='romeo@example.net/orchard'><show>away</show>"
        b"<status>be right back</status><priority>5</priority>"
        b"<c xmlns='http://jabber.org/protocol/caps' hash='sha-1' node='https://gajim.org'"
        b" ver='QgayPKawpkPSDYmwT/WM94uAlu0='/>"
        b"<x xmlns='vcard-temp:x:update'><photo>sha1-hash-of-image</photo></x></presence>",
        b"<presence type='unavailable' from='nurse@example.com/kitchen' to='romeo@example.net/orchard'/>",
        message(1),
    ]
    * 4
)
IQ = b"".join(
    [
        b"<iq type='get' id='disco1' from='romeo@example.net/orchard' to='example.com'>"
        b"<query xmlns='http://jabber.org/protocol/disco#info' node='https://gajim.org#QgayPKawpkPSDYmwT'/></iq>",
        b"<r xmlns='urn:xmpp:sm:3'/><a xmlns='urn:xmpp:sm:3' h='42'/>",
        b"<iq type='result' id='roster1' to='romeo@example.net/orchard'><query xmlns='jabber:iq:roster' ver='ver7'>"
        b"<item jid='nurse@example.com' name='Nurse' subscription='both'><group>Servants</group></item>"
        b"<item jid='juliet@example.com' name='Juliet' subscription='both'><group>Friends</group></item></query></iq>",
        b"<iq type='result' id='ping1' to='example.com'/>",
        b"<iq type='set' id='pub1'><pubsub xmlns='http://jabber.org/protocol/pubsub'>"
        b"<publish node='http://jabber.org/protocol/tune'><item>"
        b"<tune xmlns='http://jabber.org/protocol/tune'><artist>Yes</artist><length>686</length></tune>"
        b"</item></publish></pubsub></iq>",
    ]
    * 4
)
UTF8 = b"".join(
    message(number, text)
    for number, text in enumerate(
        [
            "\u0427\u0442\u043e \u0432 \u0438\u043c\u0435\u043d\u0438? \u0420\u043e\u0437\u0430 "
            "\u043f\u0430\u0445\u043d\u0435\u0442 \u0440\u043e\u0437\u043e\u0439, \u0445\u043e\u0442\u044c",
            "\u540d\u524d\u306b\u4f55\u304c\u3042\u308b\u306e\u3067\u3059\u304b\uff1f\u8594\u8587\u3068\u547c\u3070\u308c\u308b\u82b1\u306f",
            "\u00c7a va tr\u00e8s bien \U0001f642\U0001f44d, h\u00e9las\u2026",
        ]
        * 3
    )
)
TRAFFIC = {
    "seven 207-byte messages": REFERENCE,
    "presence-heavy mix": PRESENCE,
    "iq-heavy mix": IQ,
    "UTF-8 text": UTF8,
}


def _filled(begin: bytes, repeated: bytes, end: bytes) -> bytes:
    return begin + repeated * ((CORNER_BYTES - len(begin) - len(end)) // len(repeated)) + end


def _attributes(names: list[str]) -> bytes:
    return "".join(f" {name}=''" for name in names).encode()


_DECLARED = "".join(f" xmlns:p{index:02}='u{index:02}'" for index in range(60)).encode()
_PAIRED = "".join(f" xmlns:p{index:02}='{'u' * 200}{index // 2:02}'" for index in range(60)).encode()

# Each at the widest bounds: 255 levels, 255 attributes.
CORNERS = {
    "attributes that begin alike": _filled(
        b"<a>", b"<b" + _attributes([f"{'a' * 9}{index:03}" for index in range(255)]) + b"/>", b"</a>"
    ),
    "short attributes": _filled(b"<a>", b"<b" + _attributes([f"a{index}" for index in range(255)]) + b"/>", b"</a>"),
    "attributes with prefixes": _filled(
        b"<a" + _DECLARED + b">",
        b"<b" + _attributes([f"p{index % 60:02}:a{index}" for index in range(255)]) + b"/>",
        b"</a>",
    ),
    "two prefixes for each namespace": _filled(
        b"<a" + _PAIRED + b">",
        b"<b" + _attributes([f"p{index % 60:02}:a{index}" for index in range(255)]) + b"/>",
        b"</a>",
    ),
    "two prefixes for each namespace, few attributes": _filled(
        b"<a" + _PAIRED + b">", b"<b" + _attributes([f"p{index:02}:a" for index in range(0, 60, 2)]) + b"/>", b"</a>"
    ),
    "prefixed elements below many prefixes": _filled(b"<a" + _DECLARED + b">", b"<p00:b/>", b"</a>"),
    "prefixes declared again and again": _filled(
        b"<a" + _DECLARED + b">", b"<b xmlns:x='u'/><b xmlns:x='v'/>", b"</a>"
    ),
    "default namespaces in turn": _filled(b"<a>", b"<b xmlns='u'/><b xmlns='v'/>", b"</a>"),
    "long namespaces": _filled(b"<a>", b"<b xmlns:x='urn:" + b"u" * 250 + b"'/>", b"</a>"),
    "255 levels": _filled(b"", b"<a>" * 254 + b"</a>" * 254, b""),
    "longest names": _filled(b"<a>", b"<" + b"n" * 255 + b"></" + b"n" * 255 + b">", b"</a>"),
    "smallest stanzas": _filled(b"", b"<a/>", b""),
    "smallest attributes": _filled(b"<a>", b"<a b=''/>", b"</a>"),
    "white space in tags": _filled(b"<a>", b"<a b = ''\n/>", b"</a>"),
    "white space between stanzas": _filled(b"<a/>", b" ", b""),
    "line ends in text": _filled(b"<a>", b"\r\n", b"</a>"),
    "predefined entities": _filled(b"<a>", b"&lt;", b"</a>"),
    "numeric references": _filled(b"<a>", b"&#9;", b"</a>"),
    "long numeric references": _filled(b"<a>", b"&#x10FFFF;", b"</a>"),
    "brackets": _filled(b"<a>", b"]", b"</a>"),
    "brackets apart": _filled(b"<a>", b"] ", b"</a>"),
    "empty CDATA": _filled(b"<a>", b"<![CDATA[]]>", b"</a>"),
    "brackets in CDATA": _filled(b"<a><![CDATA[", b"]] ", b"]]></a>"),
    "two-byte characters apart": _filled(b"<a>", "\u00e9 ".encode(), b"</a>"),
    "four-byte characters": _filled(b"<a>", "\U0001f642".encode(), b"</a>"),
    "four-byte characters apart": _filled(b"<a>", "\U0001f642 ".encode(), b"</a>"),
}
