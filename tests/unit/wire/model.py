"""A reader of streams that is slow and plain: what the framer must say about a stream that is given whole.

A recursive descent through the grammar of XML 1.0, of its namespaces, and of RFC 6120's restrictions, one byte at a
time; it shares no idea with the framer but the rules.
"""

import re
from dataclasses import dataclass, field
from typing import NoReturn

from megaphone.wire.framer import Error

XML = "http://www.w3.org/XML/1998/namespace"
XMLNS = "http://www.w3.org/2000/xmlns/"
STREAMS = "http://etherx.jabber.org/streams"
SPACE = b" \t\r\n"
NAME_START = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz_"
NAME = NAME_START + b"0123456789-.:"
NAME_LIMIT, ROOT_LIMIT, PREFIXES_LIMIT = 255, 16, 62
QNAME = re.compile(r"(?:([A-Za-z_][A-Za-z0-9_.-]*):)?([A-Za-z_][A-Za-z0-9_.-]*)")
DECLARATION = re.compile(
    rb"""[ \t\r\n]+version[ \t\r\n]*=[ \t\r\n]*(?:'1\.0'|"1\.0")
    (?:[ \t\r\n]+encoding[ \t\r\n]*=[ \t\r\n]*(?:'([A-Za-z][A-Za-z0-9._-]*)'|"([A-Za-z][A-Za-z0-9._-]*)"))?
    (?:[ \t\r\n]+standalone[ \t\r\n]*=[ \t\r\n]*(?:'(?:yes|no)'|"(?:yes|no)"))?[ \t\r\n]*""",
    re.VERBOSE,
)
PCHAR = r"[A-Za-z0-9._~!$()*+,;=:@-]"
URI = re.compile(
    rf"""(?:[A-Za-z][A-Za-z0-9+.-]*: | (?![^/?#]*:))            # a scheme, or no colon in the first segment
    (?://[A-Za-z0-9_.-]*(?::[0-9]{{1,5}})?(?=[/?\#]|\Z) | (?!//))   # an authority, or none
    (?:{PCHAR}|/)* (?:\?(?:{PCHAR}|[/?])*)? (?:\#(?:{PCHAR}|[/?])*)?""",
    re.VERBOSE,
)
URI_BYTES = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-._~!$()*+,;=:@/?#"
TAIL = range(0x80, 0xC0)
UTF8 = [  # the first byte of a character and those behind it (RFC 3629 section 4)
    (range(0xC2, 0xE0), [TAIL]),
    (range(0xE0, 0xE1), [range(0xA0, 0xC0), TAIL]),
    (range(0xE1, 0xED), [TAIL, TAIL]),
    (range(0xED, 0xEE), [range(0x80, 0xA0), TAIL]),
    (range(0xEE, 0xF0), [TAIL, TAIL]),
    (range(0xF0, 0xF1), [range(0x90, 0xC0), TAIL, TAIL]),
    (range(0xF1, 0xF4), [TAIL, TAIL, TAIL]),
    (range(0xF4, 0xF5), [range(0x80, 0x90), TAIL, TAIL]),
]
ENTITIES = {"lt", "gt", "amp", "apos", "quot"}
ELEMENTS = {
    "message": "MESSAGE_ELEMENT",
    "presence": "PRESENCE_ELEMENT",
    "iq": "IQ_ELEMENT",
    "success": "SUCCESS_ELEMENT",
    "compressed": "COMPRESSED_ELEMENT",
    "proceed": "PROCEED_ELEMENT",
    "starttls": "STARTTLS_ELEMENT",
    "features": "FEATURES_ELEMENT",
    "error": "STREAM_ERROR_ELEMENT",
}
COUNTED = ["message", "presence", "iq"]


class EndOfInputError(Exception):
    """Nothing is wrong so far."""


class RefusedError(Exception):
    """The byte at an offset cannot stand there."""


@dataclass(slots=True)
class Answer:
    """What there is in a stream: events with the offset at which each ended, then perhaps an error."""

    events: list[tuple[str, int]] = field(default_factory=list)
    counts: list[int] = field(default_factory=lambda: [0, 0, 0, 0])
    error: Error | None = None
    error_offset: int = -1


@dataclass(slots=True)
class StartTag:
    """One start tag, or the tag of an empty element."""

    name: str
    declared: dict[str, str]
    attributes: list[str]
    empty: bool
    end: int  # offset of its ">"


def local(name: str) -> str:
    return name.rpartition(":")[2]


def allowed(character: str) -> bool:
    """XML 1.0 section 2.2."""
    point = ord(character)
    return point in (9, 10, 13) or 0x20 <= point <= 0xD7FF or 0xE000 <= point <= 0xFFFD or point >= 0x10000


class Model:
    """Reads one stream; `restarts` means that a new header may come at any time."""

    def __init__(
        self, data: bytes, *, stanza_bytes: int = 262144, depth: int = 64, attributes: int = 64, restarts: bool = False
    ) -> None:
        self.data = data
        self.at = 0
        self.limit = len(data) + 1  # where the header or stanza under way is too big
        self.stanza_bytes, self.depth_limit, self.attributes_limit = stanza_bytes, depth, attributes
        self.restarts = restarts
        self.scopes: list[dict[str, str]] = []  # prefixes that each open element declares
        self.free_prefix = False  # the usual root's declaration counts for nothing
        self.answer = Answer()

    def read(self) -> Answer:
        try:
            self.stream()
        except EndOfInputError:
            pass
        except RefusedError as refused:
            self.answer.error, self.answer.error_offset = refused.args
        return self.answer

    # --- bytes ---

    def peek(self) -> int:
        if self.at == len(self.data):
            raise EndOfInputError
        if self.at >= self.limit:
            self.refuse(Error.STANZA_TOO_BIG)
        return self.data[self.at]

    def refuse(self, error: Error = Error.NOT_WELL_FORMED_XML) -> NoReturn:
        raise RefusedError(error, self.at)

    def skip_space(self) -> None:
        while self.peek() in SPACE:
            self.at += 1

    def expect(self, wanted: bytes, error: Error = Error.NOT_WELL_FORMED_XML) -> None:
        for byte in wanted:
            if self.peek() != byte:
                self.refuse(error)
            self.at += 1

    def begin(self) -> None:
        """A header, a stanza or the end begins here: its size is limited."""
        self.limit = self.at + self.stanza_bytes

    def done(self, event: str) -> None:
        self.limit = len(self.data) + 1
        self.answer.events.append((event, self.at))

    # --- the stream ---

    def stream(self) -> None:
        self.peek()
        # no XML declaration after white space, unless that is the end of a stream before this one
        declared = self.data[self.at] in SPACE and not self.restarts
        self.skip_space()
        self.header(declared)
        while True:
            self.skip_space()
            if self.peek() != ord("<"):
                self.refuse(Error.TEXT_BETWEEN_STANZAS)
            self.begin()
            self.at += 1
            byte = self.peek()
            if byte == ord("/"):
                self.end_tag(self.root)
                self.done("STREAM_END")
                break
            if byte == ord("?") and self.restarts:
                self.declaration()
                self.skip_space()
                self.header(True, again=True)
            elif byte in NAME_START:
                self.first_level()
            else:
                self.refuse(Error.RESTRICTED if byte in b"!?" else Error.NOT_WELL_FORMED_XML)
        while self.at < len(self.data):
            if self.data[self.at] not in SPACE:
                self.refuse(Error.AFTER_STREAM_END)
            self.at += 1

    def header(self, declared: bool, again: bool = False) -> None:
        self.expect(b"<")
        self.at -= 1
        self.begin()
        self.at += 1
        byte = self.peek()
        if byte == ord("?") and not declared:
            self.declaration()
            self.skip_space()
            self.header(True)
            return
        if byte not in NAME_START:
            self.refuse(Error.RESTRICTED if byte in b"!?" else Error.NOT_WELL_FORMED_XML)
        name = self.name()
        if again and local(name) != "stream":
            self.refuse()
        self.root_tag(name)

    def root_tag(self, name: str) -> None:
        self.scopes, self.free_prefix = [], False
        tag = self.start_tag(name)
        self.at = tag.end
        if tag.empty:
            self.refuse()
        self.check_names(tag)
        if len(name) > ROOT_LIMIT:
            self.refuse(Error.NAME_TOO_LONG)
        self.at += 1
        self.root = name
        self.scopes = [tag.declared]
        prefix = name.rpartition(":")[0]
        rest = {key: value for key, value in tag.declared.items() if key}
        self.free_prefix = prefix != "" and local(name) == "stream" and rest in ({prefix: STREAMS}, {})
        self.done("HEADER")

    def first_level(self) -> None:
        begun = self.at
        name = self.name()
        if local(name) == "stream":
            if not self.restarts:
                self.refuse(Error.RESTART_NOT_ALLOWED)
            self.root_tag(name)
            return
        self.at = begun
        self.element(2)
        self.answer.counts[COUNTED.index(local(name)) if local(name) in COUNTED else 3] += 1
        self.done(ELEMENTS.get(local(name), "OTHER_ELEMENT"))

    def declaration(self) -> None:
        self.expect(b"?xml", Error.RESTRICTED)
        if self.peek() not in SPACE:
            self.refuse(Error.RESTRICTED)
        begun = self.at
        while self.peek() != ord("?"):
            byte = self.peek()
            if self.at - begun >= NAME_LIMIT or byte >= 0x7F or byte == ord("<") or (byte < 0x20 and byte not in SPACE):
                self.refuse()
            self.at += 1
        found = DECLARATION.fullmatch(self.data[begun : self.at])
        if found is None:
            self.refuse()
        if (found[1] or found[2] or b"utf-8").lower() != b"utf-8":
            self.refuse(Error.ENCODING_NOT_UTF8)
        self.expect(b"?>")
        self.limit = len(self.data) + 1

    # --- elements ---

    def element(self, depth: int) -> None:
        """An element whose "<" has been read; `depth` is its own, the stream element's being 1."""
        tag = self.start_tag(self.name())
        self.at = tag.end
        self.check_names(tag)
        if depth > self.depth_limit:
            self.refuse(Error.TOO_DEEP)
        self.at += 1
        if not tag.empty:
            self.scopes.append(tag.declared)
            self.content(depth)
            self.end_tag(tag.name)
            self.scopes.pop()

    def content(self, depth: int) -> None:
        """Up to the "<" of the end tag, which is read."""
        text = b""
        while True:
            byte = self.peek()
            if byte == ord("<"):
                self.at += 1
                text = b""
                byte = self.peek()
                if byte == ord("/"):
                    return
                if byte == ord("!"):
                    self.cdata()
                elif byte in NAME_START:
                    self.element(depth + 1)
                else:
                    self.refuse(Error.RESTRICTED if byte == ord("?") else Error.NOT_WELL_FORMED_XML)
            elif byte == ord("&"):
                self.reference()
                text = b""
            else:
                if byte == ord(">") and text.endswith(b"]]"):
                    self.refuse()
                begun = self.at
                self.character()
                text += self.data[begun : self.at]

    def cdata(self) -> None:
        self.expect(b"![CDATA[", Error.RESTRICTED)
        text = b""
        while not text.endswith(b"]]>"):
            begun = self.at
            self.character()
            text += self.data[begun : self.at]

    def end_tag(self, name: str) -> None:
        self.expect(b"/")
        begun = self.at
        while self.peek() in NAME:
            if self.at - begun == NAME_LIMIT:
                self.refuse(Error.NAME_TOO_LONG)
            self.at += 1
        if self.data[begun : self.at] != name.encode():
            self.refuse()
        self.skip_space()
        self.expect(b">")

    def name(self) -> str:
        """A name that begins here; what is wrong with it is found at the byte behind it."""
        begun = self.at
        while self.peek() in NAME:
            if self.at - begun == NAME_LIMIT:
                self.refuse(Error.NAME_TOO_LONG)
            self.at += 1
        name = self.data[begun : self.at].decode()
        if not QNAME.fullmatch(name):
            self.refuse()
        return name

    def start_tag(self, name: str) -> StartTag:
        """What follows a start tag's name, up to its ">", which is not read."""
        tag = StartTag(name, {}, [], False, 0)
        while True:
            spaced = self.peek() in SPACE
            self.skip_space()
            byte = self.peek()
            if byte == ord(">"):
                break
            if byte == ord("/"):
                self.at += 1
                if self.peek() != ord(">"):
                    self.refuse()
                tag.empty = True
                break
            if not spaced or byte not in NAME_START:
                self.refuse()
            if len(tag.attributes) == self.attributes_limit:
                self.refuse(Error.TOO_MANY_ATTRIBUTES)
            self.attribute(tag)
        tag.end = self.at
        return tag

    def attribute(self, tag: StartTag) -> None:
        name = self.name()
        if self.data[self.at] not in b"=" + SPACE or name in tag.attributes:
            self.refuse()
        if name == "xml:id":
            self.refuse(Error.RESTRICTED)
        tag.attributes.append(name)
        self.skip_space()
        self.expect(b"=")
        self.skip_space()
        quote = self.peek()
        if quote not in b"'\"":
            self.refuse()
        self.at += 1
        if name == "xmlns" or name.startswith("xmlns:"):
            self.namespace(tag, name[6:], quote)
            return
        while self.peek() != quote:
            if self.peek() == ord("&"):
                self.reference()
            elif self.peek() == ord("<"):
                self.refuse()
            else:
                self.character()
        self.at += 1

    def namespace(self, tag: StartTag, prefix: str, quote: int) -> None:
        """The value of a declaration, whose quote has been read (Namespaces in XML 1.0 sections 3 and 5)."""
        begun = self.at
        while self.peek() != quote:
            if self.peek() not in URI_BYTES:
                self.refuse()
            if self.at - begun == NAME_LIMIT:
                self.refuse(Error.NAME_TOO_LONG)
            self.at += 1
        uri = self.data[begun : self.at].decode()
        if uri == XMLNS or (uri == XML) != (prefix == "xml") or not URI.fullmatch(uri):
            self.refuse()
        if prefix:
            if not uri or prefix == "xmlns":
                self.refuse()
            if len(self.prefixes()) + len([key for key in tag.declared if key]) == PREFIXES_LIMIT:
                self.refuse(Error.TOO_MANY_NAMESPACES)
        tag.declared[prefix] = uri
        self.at += 1

    def prefixes(self) -> list[str]:
        """What is declared by the open elements, again and again if they do so."""
        scopes = self.scopes[1:] if self.free_prefix else self.scopes
        return [prefix for scope in scopes for prefix in scope if prefix]

    def resolve(self, prefix: str, tag: StartTag) -> str:
        for scope in [tag.declared, *reversed(self.scopes)]:
            if prefix in scope:
                return scope[prefix]
        if prefix != "xml":
            self.refuse()
        return XML

    def check_names(self, tag: StartTag) -> None:
        """Namespaces in XML 1.0 sections 5 and 6.3."""
        seen = set()
        prefix = tag.name.rpartition(":")[0]
        if prefix:
            self.resolve(prefix, tag)
        for attribute in tag.attributes:
            prefix = attribute.rpartition(":")[0]
            if prefix in ("", "xmlns"):
                continue
            expanded = self.resolve(prefix, tag), local(attribute)
            if expanded in seen:
                self.refuse()
            seen.add(expanded)

    # --- characters ---

    def character(self) -> None:
        """One character, at its first byte that cannot be part of one that XML allows."""
        byte = self.peek()
        if byte < 0x80:
            if not allowed(chr(byte)):
                self.refuse()
            self.at += 1
            return
        begun = self.at
        found = [tails for first, tails in UTF8 if byte in first]
        if not found:
            self.refuse()
        self.at += 1
        for tail in found[0]:
            # U+FFFE and U+FFFF are no characters of XML
            if self.peek() not in tail or (self.data[begun : self.at] == b"\xef\xbf" and self.peek() >= 0xBE):
                self.refuse()
            self.at += 1

    def reference(self) -> None:
        """Its name may have eight bytes, leading zeros of a number included."""
        self.at += 1
        name = ""
        while self.peek() != ord(";"):
            byte = self.peek()
            if not ((byte in NAME and byte != ord(":")) or (byte == ord("#") and not name)):
                self.refuse()
            if len(name) == 8:
                if not name.startswith("#"):
                    self.refuse(Error.RESTRICTED)
                self.refuse(Error.NAME_TOO_LONG if name.startswith(("#0", "#x0")) else Error.NOT_WELL_FORMED_XML)
            name += chr(byte)
            self.at += 1
        if name not in ENTITIES:
            if name and not name.startswith("#"):
                self.refuse(Error.RESTRICTED)
            number = re.fullmatch("#(?:x([0-9A-Fa-f]+)|([0-9]+))", name)
            point = (int(number[1], 16) if number[1] else int(number[2])) if number else -1
            if not 0 <= point <= 0x10FFFF or not allowed(chr(point)):
                self.refuse()
        self.at += 1
