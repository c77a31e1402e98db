"""What a chat has to be told before it begins, and how it ends."""

from dataclasses import dataclass
from typing import Literal

from megaphone.sockets.endpoint import Endpoint


@dataclass(frozen=True, slots=True)
class Login:
    """Who we are and how to get in; `account` is a bare JID or None for SASL ANONYMOUS."""

    domain: str
    account: str | None
    password: str
    tls: Literal["starttls", "direct", "none"]
    ca_file: str | None
    insecure: bool


@dataclass(frozen=True, slots=True)
class Settings:
    """What to join, as whom, and through which servers; `room` is a name or the room's bare JID."""

    room: str
    nick: str
    room_password: str | None
    login: Login
    servers: list[Endpoint]
    history: int  # messages to show of what was said before
    timeout_seconds: float  # for the login, and again for the join
    ping_seconds: float = 30.0


class ChatError(Exception):
    """Why the chat is over, and the exit code."""

    def __init__(self, reason: str, code: int) -> None:
        super().__init__(reason)
        self.code = code
