"""One received stanza, for those who look into it: addresses at once, its tree and its children's bytes when asked."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING
from xml.etree import ElementTree
from xml.parsers import expat

from megaphone.stream.jid import JID
from megaphone.wire.framer import Element as Kind
from megaphone.wire.stamp import KEEP, add_child, prefix_declarations, stamp
from megaphone.wire.stanza_header import read_stanza_header
from megaphone.wire.stanza_writer import bounce
from megaphone.wire.start_tag import read_start_tag

if TYPE_CHECKING:
    from collections.abc import Callable
    from xml.etree.ElementTree import Element

CLIENT_NAMESPACE = "jabber:client"

# What every client's stream declares (RFC 6120 section 4.8); a stanza needs no other declaration from outside.
_BEFORE = b"<s xmlns='jabber:client' xmlns:stream='http://etherx.jabber.org/streams'>"
_AFTER = b"</s>"
_KINDS = {Kind.MESSAGE_ELEMENT: "message", Kind.PRESENCE_ELEMENT: "presence", Kind.IQ_ELEMENT: "iq"}


@dataclass(frozen=True, slots=True)
class Child:
    """One child element of a stanza: its name, and where in the stanza's bytes it stands."""

    namespace: str
    name: str
    begin: int
    end: int


class Stanza:
    """One stanza as it is to be sent on: `from_` is what the sender is known to be, whatever it claimed.

    `data` is the whole stanza, framed, in the namespace jabber:client and complete below a stream header with RFC
    6120's declarations. `kind` is "message", "presence" or "iq". Immutable.
    """

    def __init__(
        self, data: bytes, kind: str, *, to: JID | None, from_: JID | None, type_: str | None, id_: str | None
    ) -> None:
        self.data = data
        self.kind = kind
        self.to = to
        self.from_ = from_
        self.type = type_
        self.id = id_

    @classmethod
    def read(cls, data: bytes) -> Stanza:
        """Read a stanza; ValueError("jid-malformed") for an address that is none, ValueError for what is no stanza."""
        header = read_stanza_header(data)
        kind = _KINDS.get(header.kind)
        if kind is None:
            raise ValueError("unsupported-stanza-type")
        try:
            to = None if header.to is None else JID.parse(header.to)
            from_ = None if header.from_ is None else JID.parse(header.from_)
        except ValueError:
            raise ValueError("jid-malformed") from None
        return cls(data, kind, to=to, from_=from_, type_=header.type, id_=header.id)

    def __repr__(self) -> str:
        return f"Stanza({self.data!r})"

    @cached_property
    def tree(self) -> Element:
        """The stanza as an ElementTree element, names as "{namespace}name"."""
        return parse(self.data)

    @cached_property
    def children(self) -> tuple[Child, ...]:
        """Its child elements, in order."""
        return children(self.data)

    def child(self, namespace: str, name: str = "") -> Element | None:
        """Return the first child element of this namespace, and name if one is given."""
        for element in self.tree:
            tag_namespace, _, tag_name = element.tag.rpartition("}")
            if tag_namespace[1:] == namespace and name in ("", tag_name):
                return element
        return None

    @property
    def payload(self) -> Element | None:
        """The first child: of an iq, what is asked or answered."""
        return next(iter(self.tree), None)

    def child_bytes(self, child: Child) -> bytes:
        """Return one child as bytes that stand by themselves below jabber:client."""
        element = self.data[child.begin : child.end]
        declarations = prefix_declarations(self.data)
        if not declarations:
            return element
        own = {each.partition(b"=")[0].strip() for each in prefix_declarations(element)}
        missing = b"".join(each for each in declarations if each.partition(b"=")[0].strip() not in own)
        return stamp(element, declarations=missing)

    def stamped(
        self,
        *,
        to: JID | str | object | None = KEEP,
        from_: JID | str | object | None = KEEP,
        type_: str | object | None = KEEP,
        id_: str | object | None = KEEP,
    ) -> bytes:
        """Return its bytes with these attributes; None leaves one out, KEEP leaves it as it is."""
        return stamp(
            self.data,
            to=str(to) if isinstance(to, JID) else to,
            from_=str(from_) if isinstance(from_, JID) else from_,
            type_=type_,
            id_=id_,
        )

    def error(self, condition: str, *, from_: JID | None = None, type_: str | None = None, text: str = "") -> bytes:
        """Return the error that answers it (RFC 6120 section 8.3.1); `from_` is whom it was for if it had no `to`.

        An error, and the result of a request, must not be answered: that is for the caller to see (`answerable`).
        """
        sender = self.to if self.to is not None else from_
        return bounce(
            self.kind,
            condition,
            to=None if self.from_ is None else str(self.from_),
            from_=None if sender is None else str(sender),
            id_=self.id,
            type_=type_,
            text=text,
        )

    @property
    def answerable(self) -> bool:
        """Whether an error may answer it: it is no error itself and no result (RFC 6120 sections 8.2.3 and 8.3.1)."""
        return self.type not in ("error", "result")


def parse(data: bytes) -> Element:
    """Return one element that stands below jabber:client as a tree; ParseError for what is none."""
    parser = ElementTree.XMLParser()  # noqa: S314 - a framed stanza has neither DTD nor entities of its own
    parser.feed(b"%b%b%b" % (_BEFORE, data, _AFTER))
    return parser.close()[0]


def children(data: bytes) -> tuple[Child, ...]:
    """Return the child elements of one element that stands below jabber:client."""
    parser = expat.ParserCreate(namespace_separator=" ")
    found: list[Child] = []
    depth = 0

    def start(name: str, _: dict[str, str]) -> None:
        nonlocal depth
        if depth == 2:
            namespace, _space, local = name.rpartition(" ")
            found.append(Child(namespace, local, parser.CurrentByteIndex - len(_BEFORE), -1))
        depth += 1

    def end(_: str) -> None:
        nonlocal depth
        depth -= 1
        if depth == 2:
            child = found[-1]
            _tag, length, empty = read_start_tag(data[child.begin :])
            after = child.begin + length if empty else data.index(b">", parser.CurrentByteIndex - len(_BEFORE)) + 1
            found[-1] = Child(child.namespace, child.name, child.begin, after)

    parser.StartElementHandler = start
    parser.EndElementHandler = end
    parser.Parse(_BEFORE)
    parser.Parse(data)
    parser.Parse(_AFTER, True)
    return tuple(found)


def without_children(data: bytes, unwanted: Callable[[Child], bool]) -> bytes:
    """Return an element without the children that are `unwanted`; white space around them stays."""
    kept = bytearray()
    at = 0
    for child in children(data):
        if unwanted(child):
            kept += data[at : child.begin]
            at = child.end
    return bytes(kept) + data[at:] if at else data


def with_child(data: bytes, child: bytes) -> bytes:
    """Return an element with one more child, whole markup, behind the others."""
    return add_child(data, child)
