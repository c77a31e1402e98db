"""Why a room does not let us in, in words (XEP-0045, section 7.2)."""

from typing import Final

from megaphone.cli.chat_stanzas import StanzaError

_WORDS: Final = {
    "conflict": "the nick {nick} is taken in {room}",
    "registration-required": "{room} is for members only",
    "forbidden": "you are banned from {room}",
    "not-authorized": "{room} asks for a password, and this is not it: give --room-password-file FILE",
    "item-not-found": "{room} does not exist, or is not ready",
    "not-allowed": "{room} does not exist, and you may not create rooms there",
    "not-acceptable": "{room} does not take the nick {nick}",
    "jid-malformed": "{room} does not take the nick {nick}",
    "service-unavailable": "{room} is full, or there is no such service",
    "remote-server-not-found": "there is no such service: {room}",
    "remote-server-timeout": "no answer from the service of {room}",
    "resource-constraint": "{room} has too many occupants, or you are in too many rooms",
    "gone": "{room} is gone",
}

# What another server, or the same one a little later, may answer otherwise.
_PASSING: Final = frozenset(
    {
        *("internal-server-error", "item-not-found", "recipient-unavailable", "remote-server-not-found"),
        *("remote-server-timeout", "resource-constraint", "service-unavailable"),
    }
)


def refusal_in_words(error: StanzaError, room: str, nick: str) -> str:
    """One line, with what the server said in brackets."""
    template = _WORDS.get(error.condition)
    words = (
        f"{room} does not let us in: {error.condition}" if template is None else template.format(room=room, nick=nick)
    )
    return f"{words} ({error.text})" if error.text else words


def is_passing(error: StanzaError) -> bool:
    """Whether it makes sense to try again when we were inside before."""
    return error.condition in _PASSING
