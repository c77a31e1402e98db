"""Whom sessions log in as."""

from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, Self

from loadtest.swarm.errors import AccountsError

Mechanism = Literal["ANONYMOUS", "PLAIN", "SCRAM-SHA-1", "SCRAM-SHA-256"]

MECHANISMS = ("ANONYMOUS", "PLAIN", "SCRAM-SHA-1", "SCRAM-SHA-256")
FIELD_BYTES_LIMIT = 1023  # RFC 7622 section 3.3 of a localpart; the same for passwords


@dataclass(frozen=True, slots=True, kw_only=True)
class Accounts:
    """A mechanism and the names that use it.

    Session after session takes the next name; after the last one comes the first again, with one more resource.
    Make one with `anonymous`, `generated` or `from_file`.
    """

    mechanism: Mechanism
    prefix: str = ""
    first: int = 0
    count: int = 0
    password: str = ""
    listed: tuple[tuple[str, str], ...] = ()

    @classmethod
    def anonymous(cls) -> Self:
        """SASL ANONYMOUS: the server gives the names (RFC 4505, XEP-0175)."""
        return cls(mechanism="ANONYMOUS")

    @classmethod
    def generated(
        cls, count: int, password: str, mechanism: Mechanism = "SCRAM-SHA-256", *, prefix: str = "user", first: int = 0
    ) -> Self:
        """`user0`, `user1` ... (from `first` on, so that processes can share them out), all with one password."""
        if count < 1 or first < 0:
            raise AccountsError(f"no accounts: {count} from {first} on")
        check(prefix + "0", password, mechanism)
        return cls(mechanism=mechanism, prefix=prefix, first=first, count=count, password=password)

    @classmethod
    def from_file(
        cls, path: str | Path, mechanism: Mechanism = "SCRAM-SHA-256", *, part: int = 0, parts: int = 1
    ) -> Self:
        """One account a line, `jid password` or `name password`; `#` begins a comment line.

        `part` of `parts` (0-based) takes every `parts`-th line, so that processes can share one file.
        """
        try:
            text = Path(path).read_text(encoding="utf-8")
        except (OSError, UnicodeDecodeError) as error:
            raise AccountsError(f"cannot read accounts: {error}") from error
        return cls.from_lines(text.splitlines(), mechanism, part=part, parts=parts, source=str(path))

    @classmethod
    def from_lines(
        cls, lines: Iterable[str], mechanism: Mechanism, *, part: int = 0, parts: int = 1, source: str = "accounts"
    ) -> Self:
        """As `from_file`, from lines; `source` is named in errors."""
        if not 0 <= part < parts:
            raise AccountsError(f"no part {part} of {parts}")
        listed: list[tuple[str, str]] = []
        for number, line in enumerate(lines, 1):
            if not line.strip() or line.startswith("#"):
                continue
            jid, _, password = line.strip().partition(" ")
            name = jid.partition("@")[0]
            if not name or not password:
                raise AccountsError(f"{source}, line {number}: expected `jid password`")
            check(name, password, mechanism)
            listed.append((name, password))
        chosen = tuple(listed[part::parts])
        if not chosen:
            raise AccountsError(f"{source}: no accounts for part {part} of {parts}")
        return cls(mechanism=mechanism, listed=chosen, count=len(chosen))


def check(name: str, password: str, mechanism: str) -> None:
    """Refuse what no server can take."""
    if mechanism not in MECHANISMS or mechanism == "ANONYMOUS":
        raise AccountsError(f"accounts log in with one of {', '.join(MECHANISMS[1:])}, not {mechanism!r}")
    for what, text in (("name", name), ("password", password)):
        if not 1 <= len(text.encode()) <= FIELD_BYTES_LIMIT or "\0" in text or "\n" in text:
            raise AccountsError(f"not a {what}: 1 to {FIELD_BYTES_LIMIT} bytes without NUL and line feed")
