"""Data forms (XEP-0004): writes those that rooms send, reads those that users submit."""

from __future__ import annotations

from typing import TYPE_CHECKING

from megaphone.errors import RoomError
from megaphone.rooms.names import DATA_FORM, element
from megaphone.wire.writer import escape

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence
    from xml.etree.ElementTree import Element

FIELDS_LIMIT = 100
_TRUE = ("1", "true")
_FALSE = ("0", "false")


def field(
    var: str,
    type_: str | None,
    values: Sequence[str],
    label: str | None = None,
    options: Iterable[tuple[str, str]] = (),
) -> bytes:
    """Return one `<field/>`; `options` are pairs of label and value."""
    content = b"".join(element(b"value", content=escape(value)) for value in values)
    for text, value in options:
        content += element(b"option", content=element(b"value", content=escape(value)), label=text)
    return element(b"field", content=content, var=var, type=type_, label=label)


def form(type_: str, kind: str, fields: Iterable[bytes], title: str = "", instructions: str = "") -> bytes:
    """Return `<x xmlns='jabber:x:data'/>` of this type, with `kind` as its FORM_TYPE (XEP-0068)."""
    content = element(b"title", content=escape(title)) if title else b""
    if instructions:
        content += element(b"instructions", content=escape(instructions))
    content += field("FORM_TYPE", "hidden", [kind]) + b"".join(fields)
    return element(b"x", DATA_FORM, content, type=type_)


def boolean(value: bool) -> str:
    """Return the text of a boolean field."""
    return "1" if value else "0"


def form_type(x: Element) -> str | None:
    """Return the FORM_TYPE of a form, None if it has none."""
    for each in x.findall(f"{{{DATA_FORM}}}field"):
        if each.get("var") == "FORM_TYPE":
            return each.findtext(f"{{{DATA_FORM}}}value")
    return None


def read(x: Element, kind: str) -> dict[str, list[str]]:
    """Return the fields of a submitted form; RoomError for what is none, or is one of another FORM_TYPE."""
    found: dict[str, list[str]] = {}
    fields = x.findall(f"{{{DATA_FORM}}}field")
    if len(fields) > FIELDS_LIMIT:
        raise RoomError("policy-violation", f"a form has at most {FIELDS_LIMIT} fields")
    for each in fields:
        var = each.get("var")
        if var is None:
            if each.get("type") == "fixed":
                continue
            raise RoomError("bad-request", "a field without var")
        if var in found:
            raise RoomError("bad-request", f"two fields {var[:80]}")
        found[var] = [value.text or "" for value in each.findall(f"{{{DATA_FORM}}}value")]
    if found.pop("FORM_TYPE", [kind]) != [kind]:
        raise RoomError("bad-request", f"the form is not of type {kind}")
    return found


def read_boolean(var: str, values: list[str]) -> bool:
    """Return the value of a boolean field; RoomError for another."""
    text = read_single(var, values)
    if text in _TRUE or text in _FALSE:
        return text in _TRUE
    raise RoomError("not-acceptable", f"{var} is 0 or 1")


def read_single(var: str, values: list[str]) -> str:
    """Return the one value of a field, "" if it has none; RoomError for several."""
    if len(values) > 1:
        raise RoomError("not-acceptable", f"{var} has one value")
    return values[0] if values else ""
