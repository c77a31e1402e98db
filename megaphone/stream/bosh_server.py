"""The server's side of a BOSH session: its stream as whole elements, and what its end means (XEP-0206 section 6)."""

from __future__ import annotations

import re
from typing import Final

from megaphone.wire.framing_element import CLOSE, FRAMING_NAMESPACE
from megaphone.wire.header import read_element
from megaphone.wire.start_tag import read_attributes
from megaphone.wire.to_messages import StreamToMessages
from megaphone.wire.writer import STREAMS_NAMESPACE

ELEMENT_LIMIT_BYTES: Final = 8_388_608  # of one element of the server's that is not whole yet

_OPEN = f"<open xmlns='{FRAMING_NAMESPACE}'".encode()
_STANZA = (b"<message", b"<presence", b"<iq")
_CONDITION = re.compile(rb"""<([a-z-]+)[^>]*\sxmlns=["']urn:ietf:params:xml:ns:xmpp-streams["']""")
# Stream errors (RFC 6120 section 4.9.3) for which a binding has a condition of its own (XEP-0124 section 17.2).
_CONDITIONS = {
    "host-gone": "host-gone",
    "host-unknown": "host-unknown",
    "improper-addressing": "improper-addressing",
    "internal-server-error": "internal-server-error",
    "remote-connection-failed": "remote-connection-failed",
    "system-shutdown": "system-shutdown",
}


class ServerStream:
    """One server's stream. `from_`, `id` and `lang` are its header's; `error` is its stream error, b"" without one."""

    def __init__(self) -> None:
        self._messages = StreamToMessages()
        self.from_: str | None = None
        self.id: str | None = None
        self.lang: str | None = None
        self.error = b""
        self.ended = False

    def take(self, data: bytes) -> list[bytes]:
        """Return the elements that `data` completes, each with all namespaces it needs.

        ValueError for what is no XML stream, or an element without end.
        """
        found = []
        for element in self._messages.whole(data):
            if element.startswith(_OPEN):
                self._take_header(element)
            elif element == CLOSE:
                self.ended = True
            elif not element.startswith(_STANZA) and read_element(element) == ("error", STREAMS_NAMESPACE):
                self.error = element
            else:
                found.append(element)
        if self._messages.holds > ELEMENT_LIMIT_BYTES:
            raise ValueError("policy-violation", "an element without end")
        return found

    def _take_header(self, opened: bytes) -> None:
        said = dict(read_attributes(opened))
        self.from_, self.id, self.lang = said.get("from"), said.get("id"), said.get("xml:lang")


def condition_of(error: bytes) -> str | None:
    """Return the binding's condition for a stream error; None for b""."""
    if not error:
        return None
    names = [name.decode() for name in _CONDITION.findall(error) if name != b"text"]
    return _CONDITIONS.get(names[0] if names else "", "remote-stream-error")
