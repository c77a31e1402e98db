"""A refusal: the stanza error with which the service answers what it does not do."""

from __future__ import annotations

from typing import TYPE_CHECKING

from megaphone.wire.stanza_writer import bounce

if TYPE_CHECKING:
    from megaphone.stream.jid import JID
    from megaphone.stream.stanza import Stanza

# XEP-0191 section 3.6: what the error says when the user's own block list is the reason.
BLOCKED = b"<blocked xmlns='urn:xmpp:blocking:errors'/>"


class Refusal(Exception):  # noqa: N818 - not a fault of ours
    """Raised while a stanza is looked at: `condition` is one of RFC 6120 section 8.3.3, `text` is for people.

    `detail` is the application-specific condition, markup (section 8.3.4).
    """

    def __init__(self, condition: str, text: str = "", *, detail: bytes = b"") -> None:
        super().__init__(condition, text)
        self.condition = condition
        self.text = text
        self.detail = detail

    def answer(self, stanza: Stanza, *, from_: JID | None) -> bytes:
        """Return the error that answers a stanza; `from_` is whom it was for (None: the sender's own account)."""
        error = bounce(
            stanza.kind,
            self.condition,
            to=None if stanza.from_ is None else str(stanza.from_),
            from_=None if from_ is None else str(from_),
            id_=stanza.id,
            text=self.text,
        )
        return error.replace(b"</error>", self.detail + b"</error>") if self.detail else error
