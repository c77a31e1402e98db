"""The words the server runners share: accounts, endpoints, and the domains every test server serves."""

from dataclasses import dataclass
from typing import Literal

DOMAIN = "example.test"
ROOMS = "rooms.example.test"
SECOND_DOMAIN = "second.test"
DOMAINS = (DOMAIN, SECOND_DOMAIN)

TLSMode = Literal["starttls", "direct", "none"]


@dataclass(frozen=True, slots=True)
class Account:
    """One user of a test server."""

    user: str
    password: str
    domain: str = DOMAIN

    @property
    def jid(self) -> str:
        """The bare JID; the domain for who has no account (SASL ANONYMOUS)."""
        return f"{self.user}@{self.domain}" if self.user else self.domain


# A password with characters that XML, shells and SASLprep treat specially, because all of them lie on the way.
ALICE = Account("alice", "wonder & <land> 'tea'")
BOB = Account("bob", "pässwörd \u2168")
CAROL = Account("carol", "carol-secret")
DAVE = Account("dave", "dave-secret", SECOND_DOMAIN)
ACCOUNTS = (ALICE, BOB, CAROL, DAVE)


@dataclass(frozen=True, slots=True)
class Endpoint:
    """Where a client connects and what TLS it finds there."""

    host: str
    port: int
    tls: TLSMode
