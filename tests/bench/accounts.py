"""Thousands of accounts for a server that does not run yet: user0, user1 ... with one password, as SCRAM keys."""

import base64
import hashlib
import hmac
from dataclasses import dataclass
from pathlib import Path

from tests.bench.logins import PASSWORD
from tests.servers.model import DOMAIN

SALT, ITERATIONS = b"benchmark", 4_096


@dataclass(frozen=True, slots=True)
class Credentials:
    """What a server keeps of the password, by RFC 5802: the same for every account, so that all are made at once."""

    digest: str  # "sha1" or "sha256"
    stored_key: bytes
    server_key: bytes

    @classmethod
    def derived(cls, digest: str = "sha1") -> "Credentials":
        """With SALT and ITERATIONS."""
        salted = hashlib.pbkdf2_hmac(digest, PASSWORD.encode(), SALT, ITERATIONS)
        client_key = hmac.digest(salted, b"Client Key", digest)
        return cls(digest, hashlib.new(digest, client_key).digest(), hmac.digest(salted, b"Server Key", digest))


def ejabberd_dump(credentials: Credentials, count: int) -> str:
    """A dump of ejabberd's database for its command `load`: registering one account takes tens of milliseconds."""
    fields = (credentials.stored_key, credentials.server_key, SALT)
    stored, server, salt = (f'<<"{base64.b64encode(field).decode()}">>' for field in fields)
    digest = {"sha1": "sha", "sha256": "sha256"}[credentials.digest]
    lines = ["{tables, [{passwd, [{record_name, passwd}, {attributes, [us, password]}]}]}."]
    for number in range(count):
        key = f'{{<<"user{number}">>, <<"{DOMAIN}">>}}'
        lines.append(f"{{passwd, {key}, {{scram, {stored}, {server}, {salt}, {digest}, {ITERATIONS}}}}}.")
    return "\n".join(lines) + "\n"


def write_prosody_accounts(directory: Path, credentials: Credentials, count: int) -> None:
    """What `prosodyctl register` writes below its data `directory`, which takes a quarter of a second for each."""
    record = {
        "salt": f'"{SALT.decode()}"',
        "iteration_count": str(ITERATIONS),
        "stored_key": f'"{credentials.stored_key.hex()}"',
        "server_key": f'"{credentials.server_key.hex()}"',
    }
    text = "".join(f'["{key}"] = {value};\n' for key, value in record.items())
    accounts = directory / DOMAIN.replace(".", "%2e") / "accounts"
    accounts.mkdir(parents=True)
    for number in range(count):
        (accounts / f"user{number}.dat").write_text(f"return {{\n{text}}};\n")
