"""Writes the start tag of a framed stanza anew: other addresses, another type or id, everything else as it was.

    <message id='m1' to='juliet@example.com' type='chat'><body>…      stamp(…, from_="romeo@example.net/orchard")
    <message from='romeo@example.net/orchard' id='m1' to='juliet@example.com' type='chat'><body>…

Nothing is checked: what was framed is well-formed, and stays it.
"""

from cpython.bytes cimport PyBytes_AS_STRING, PyBytes_FromStringAndSize
from libc.stdint cimport uint8_t
from libc.string cimport memcpy

from megaphone.wire.start_tag cimport Attribute, Tag, declares_prefix, is_name, next_attribute, open_tag

from megaphone.wire.writer import escape

cdef object KEPT = object()
KEEP = KEPT     # an attribute stays as it is


cdef class _Change:
    """One attribute: kept, left out or written anew."""

    cdef bint kept
    cdef bytes text

    def __cinit__(self, bytes name, value):
        self.kept = value is KEPT
        self.text = b"" if self.kept or value is None else b" %b='%b'" % (name, escape(value))


cdef bint replaced(const Attribute* attribute, _Change to, _Change from_, _Change type_, _Change id_):
    if is_name(&attribute.name, "to", 2):
        return not to.kept
    if is_name(&attribute.name, "from", 4):
        return not from_.kept
    if is_name(&attribute.name, "type", 4):
        return not type_.kept
    return is_name(&attribute.name, "id", 2) and not id_.kept


def stamp(bytes stanza not None, *, to=KEEP, from_=KEEP, type_=KEEP, id_=KEEP, bytes declarations=b""):
    """Returns `stanza` with these attributes: None leaves one out, KEEP leaves it as it is, a text is escaped.

    `declarations` are whole attributes (" xmlns:x='…'") that are put in as they are. ValueError for what begins with no tag.
    """
    cdef _Change to_change = _Change(b"to", to)
    cdef _Change from_change = _Change(b"from", from_)
    cdef _Change type_change = _Change(b"type", type_)
    cdef _Change id_change = _Change(b"id", id_)
    cdef const uint8_t* data = <const uint8_t*> <const char*> stanza
    cdef const uint8_t* end = data + len(stanza)
    cdef const uint8_t* kept
    cdef Tag tag
    cdef Attribute attribute
    cdef list parts
    if not open_tag(&tag, data, end):
        raise ValueError("no start tag")
    kept = tag.at
    parts = [stanza[:tag.at - data], declarations, to_change.text, from_change.text, type_change.text, id_change.text]
    while next_attribute(&tag, &attribute):
        if replaced(&attribute, to_change, from_change, type_change, id_change):
            parts.append(stanza[kept - data:attribute.begin - data])
            kept = tag.at
    if tag.error:
        raise ValueError("no start tag")
    parts.append(stanza[kept - data:])
    return b"".join(parts)


def prefix_declarations(bytes element not None):
    """Returns the `xmlns:…` attributes of an element's start tag as they stand there, each with the space before it."""
    cdef const uint8_t* data = <const uint8_t*> <const char*> element
    cdef Tag tag
    cdef Attribute attribute
    cdef list found = []
    if not open_tag(&tag, data, data + len(element)):
        raise ValueError("no start tag")
    while next_attribute(&tag, &attribute):
        if declares_prefix(&attribute.name):
            found.append(element[attribute.begin - data:tag.at - data])
    return found


def add_child(bytes element not None, bytes child not None):
    """Returns `element` with `child`, whole markup, behind its other children."""
    cdef const uint8_t* data = <const uint8_t*> <const char*> element
    cdef Tag tag
    cdef Attribute attribute
    if not open_tag(&tag, data, data + len(element)):
        raise ValueError("no start tag")
    while next_attribute(&tag, &attribute):
        pass
    if tag.error:
        raise ValueError("no start tag")
    if tag.empty:
        name = (<const char*> tag.name.data)[:tag.name.length]
        return b"%b>%b</%b>" % (element[:tag.at - data - 2], child, name)
    end = element.rindex(b"</")
    return element[:end] + child + element[end:]
