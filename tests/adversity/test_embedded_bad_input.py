"""Every bad input of a client of the embedded service gets the exact answer of docs/explanation/bad-input.md."""

import secrets
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from megaphone.service.accounts import make_credentials
from megaphone.storage.accounts import AccountBook
from megaphone.storage.database import prepare
from tests.adversity.rows_embedded import FAILED_LOGINS, RESUME_STANZAS, ROSTER_ITEMS, SECTIONS, SESSIONS
from tests.adversity.scene import Scene
from tests.adversity.table import Row
from tests.adversity.visitor import tls_context
from tests.adversity.watch import running, worker_rows
from tests.servers.certificates import CertificateAuthority
from tests.servers.embedded import ITERATIONS, Embedded
from tests.servers.process import wait_until

WORKERS = 2
CLOSED = "megaphone_connections_closed_total"


class EmbeddedScene(Scene):
    """The rows' scene with nothing behind the edge."""

    def __init__(self, directory: Path, authority: CertificateAuthority) -> None:
        self.authority = str(authority.certificate)
        self.context = tls_context(self.authority)
        limits = {
            "resume_stanzas": RESUME_STANZAS,
            "roster_items": ROSTER_ITEMS,
            "sessions_per_user": SESSIONS,
            "failed_logins_per_account": FAILED_LOGINS,
        }
        self.edge = Embedded(directory, authority, workers=WORKERS, accounts=(), service=limits)
        self.edge.tables["limits"] = {"close_seconds": 1.0, "trusted_networks": ["127.0.0.0/16"]}
        self.starttls, self.direct, self.plain = (
            self.edge.starttls.port,
            self.edge.direct.port,
            self.edge.plain.port,
        )
        prepare(str(self.edge.data))
        book = AccountBook(str(self.edge.data))
        for name in ("user", "guessed"):
            assert book.add(name, make_credentials("pass", secrets.token_bytes(16), ITERATIONS), time.time())
        book.close()


@pytest.fixture(scope="module")
def scene(tmp_path_factory: pytest.TempPathFactory, authority: CertificateAuthority) -> Iterator[Scene]:
    """One embedded service for all rows."""
    scene = EmbeddedScene(tmp_path_factory.mktemp("bad"), authority)
    with running(scene.edge):
        yield scene


@pytest.mark.parametrize("row", [row for section in SECTIONS for row in section.rows], ids=lambda row: row.sent)
def test_row(scene: Scene, row: Row) -> None:
    before = scene.counts(CLOSED)
    assert row.play(scene) == row.expected
    wait_until(lambda: scene.edge.metric("megaphone_connections") == 0, "no connection")
    grown = scene.counts(CLOSED) - before
    assert {label for _, label in grown} - {"client-closed"} == {row.reason} - {"client-closed"}
    assert grown[CLOSED, row.reason] >= 1


def test_afterwards(scene: Scene) -> None:
    with scene.session() as visitor:
        visitor.send(b"<iq type='get' id='p' to='example.test'><ping xmlns='urn:xmpp:ping'/></iq>")
        visitor.read_until(b"id='p'")
        visitor.leave()
    edge = scene.edge
    wait_until(lambda: edge.metric("megaphone_connections") == 0, "no connection")
    wait_until(lambda: edge.metric("megaphone_mailbox_bytes") == 0, "empty mailboxes")
    assert edge.metric("megaphone_worker_restarts_total") == 0
    assert all(row["state"] == "ready" for row in worker_rows(edge))
    log = edge.log.read_text()
    assert "Traceback" not in log
    assert "internal error" not in log
