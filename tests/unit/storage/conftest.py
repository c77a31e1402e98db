"""A database of its own for each test, with an account or two."""

import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest

from megaphone.service.accounts import Credentials
from megaphone.storage.accounts import AccountBook
from megaphone.storage.database import prepare
from megaphone.storage.storage import Storage
from megaphone.stream.jid import JID
from megaphone.stream.scram import ScramKeys

DOMAIN = "montague.example"
ROMEO = JID("romeo", DOMAIN)
JULIET = JID("juliet", DOMAIN)
CREDENTIALS = Credentials(
    sha1=ScramKeys(b"s" * 16, 4096, b"1" * 20, b"2" * 20), sha256=ScramKeys(b"t" * 16, 8192, b"3" * 32, b"4" * 32)
)


@pytest.fixture(scope="session")
def with_accounts(tmp_path_factory: pytest.TempPathFactory) -> str:
    """A data directory with the accounts romeo and juliet, to be copied: making one takes longer."""
    data = str(tmp_path_factory.mktemp("accounts"))
    prepare(data)
    book = AccountBook(data)
    for user in (ROMEO, JULIET):
        assert book.add(user.local, CREDENTIALS, 1.0)
    book.close()
    return data


@pytest.fixture
def directory(tmp_path: Path, with_accounts: str) -> str:
    """A data directory of the test's own with the accounts romeo and juliet."""
    shutil.copytree(with_accounts, tmp_path / "data")
    return str(tmp_path / "data")


@pytest.fixture
def storage(directory: str) -> Iterator[Storage]:
    """The database of `directory`, open; everything written to it must get there."""
    opened = Storage(directory)
    yield opened
    assert opened.close() == 0
    assert opened.writer.dropped == 0
