"""Stanzas and the headers above them as hypothesis strategies, and what expat and lxml say about their beginnings."""

from dataclasses import dataclass
from xml.parsers import expat

from hypothesis import strategies as st
from lxml import etree

from megaphone.wire.framer import Element
from megaphone.wire.stanza_header import StanzaHeader
from tests.unit.wire.streams import (
    CDATA,
    LOCAL_NAMES,
    MAYBE_SPACE,
    PREFIXES,
    REFERENCES,
    SPACE,
    TEXT,
    URIS,
    Scope,
    attribute,
    element,
)

STREAMS = "http://etherx.jabber.org/streams"
XML = "http://www.w3.org/XML/1998/namespace"
SEPARATOR = "\x01"  # no namespace can contain it
KINDS = {
    "{jabber:client}message": Element.MESSAGE_ELEMENT,
    "{jabber:client}presence": Element.PRESENCE_ELEMENT,
    "{jabber:client}iq": Element.IQ_ELEMENT,
}
FIELDS = ("to", "from", "type", "id")


@dataclass(frozen=True, slots=True)
class Facts:
    """What one beginning says, names as `{namespace}local`."""

    name: str
    fields: tuple[str | None, ...]
    child: str | None = None


def facts_of(header: StanzaHeader) -> Facts:
    """The reader's answer; its kind must be that of its name."""
    name = expanded(header.namespace, header.name)
    assert header.kind is KINDS.get(name, Element.OTHER_ELEMENT)
    child = None
    if header.child_name is not None:
        assert header.child_namespace is not None
        child = expanded(header.child_namespace, header.child_name)
    return Facts(name, (header.to, header.from_, header.type, header.id), child)


def expanded(namespace: str, local: str) -> str:
    return f"{{{namespace}}}{local}" if namespace else local


def facts_by_expat(stream: bytes) -> list[Facts]:
    """The stanzas of a stream that need not have ended; ExpatError if expat refuses one, ValueError if one is torn."""
    parser = expat.ParserCreate(namespace_separator=SEPARATOR)
    if hasattr(parser, "SetReparseDeferralEnabled"):
        parser.SetReparseDeferralEnabled(False)
    found: list[Facts] = []
    depth = 0

    def start(name: str, attributes: dict[str, str]) -> None:
        nonlocal depth
        depth += 1
        name = expanded(*name.split(SEPARATOR)[:2]) if SEPARATOR in name else name
        if depth == 2:
            found.append(Facts(name, tuple(attributes.get(field) for field in FIELDS)))
        elif depth == 3 and found[-1].child is None:
            found[-1] = Facts(found[-1].name, found[-1].fields, name)

    def end(_: str) -> None:
        nonlocal depth
        depth -= 1

    parser.StartElementHandler, parser.EndElementHandler = start, end
    parser.Parse(stream, False)
    if depth != 1:
        raise ValueError("not whole stanzas")
    return found


def facts_by_lxml(stream: bytes) -> list[Facts]:
    """The stanzas of a whole stream."""
    found = []
    for stanza in etree.fromstring(stream):
        child = next(iter(stanza), None)
        fields = tuple(stanza.get(field) for field in FIELDS)
        found.append(Facts(stanza.tag, fields, None if child is None else child.tag))
    return found


VALUES = (
    TEXT
    | st.lists(REFERENCES | st.sampled_from(["\r\n", "\r", "\n\t", " ", "\r\r\n\n"]), max_size=6).map("".join)
    | st.sampled_from(["juliet@example.org/balcony", "get", ""])
)
NAMES = st.sampled_from(["message", "presence", "iq", "r", "messages", "q", "i", "message-"])


@st.composite
def stanzas(draw: st.DrawFn, scope: Scope) -> str:
    """One stanza with any of the attributes that are read, and others called like them in other namespaces."""
    declared = draw(st.dictionaries(PREFIXES, URIS, max_size=2))
    inside = scope | declared
    pieces = [draw(attribute(f"xmlns:{prefix}", st.just(uri))) for prefix, uri in declared.items()]
    if draw(st.integers(0, 3)) == 0:
        pieces.append(draw(attribute("xmlns", URIS | st.just(""))))
    for name in draw(st.sets(st.sampled_from([*FIELDS, "t", "xmlnsx", "ids", "From"]))):
        pieces.append(draw(attribute(name, VALUES)))
    if draw(st.booleans()):
        prefix, local = draw(st.sampled_from(sorted(inside))), draw(st.sampled_from(("to", "from", "type")))
        pieces.append(draw(attribute(f"{prefix}:{local}", VALUES)))
    prefix = draw(st.just("") | st.just("") | st.sampled_from(sorted(inside.keys() - {"xml"})))
    local = draw(NAMES)
    name = f"{prefix}:{local}" if prefix else local
    tag = f"{name}{''.join(draw(st.permutations(pieces)))}{draw(MAYBE_SPACE)}"
    content = draw(st.lists(TEXT | CDATA | element(inside, LOCAL_NAMES, 2), max_size=4))
    if not content and draw(st.booleans()):
        return f"<{tag}/>"
    return f"<{tag}>{''.join(content)}</{name}{draw(MAYBE_SPACE)}>"


@st.composite
def stanza_streams(draw: st.DrawFn) -> bytes:
    """A whole stream, whose header may declare more than the usual one, or less."""
    declared = draw(st.dictionaries(PREFIXES, URIS, max_size=2)) | {"stream": STREAMS}
    pieces = [draw(attribute(f"xmlns:{prefix}", st.just(uri))) for prefix, uri in declared.items()]
    pieces.append(draw(attribute("xmlns", st.just("jabber:client"))))
    header = f"<stream:stream{''.join(draw(st.permutations(pieces)))}>"
    body = draw(st.lists(stanzas(declared | {"xml": XML}) | SPACE, max_size=4))
    return f"{header}{''.join(body)}</stream:stream>".encode()
