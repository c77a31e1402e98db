"""`megaphone probe` against real servers: every step, every way to fail, and what it says then."""

import datetime
import json
import re
import socket
import threading
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from megaphone.cli.main import main
from tests.servers.certificates import CertificateAuthority
from tests.servers.ejabberd import Ejabberd
from tests.servers.model import ALICE, Endpoint
from tests.servers.process import LOOPBACK, free_port
from tests.servers.prosody import Prosody

STEPS = ["resolve", "connect", "starttls", "tls", "stream", "authenticate", "bind", "message", "disconnect"]


@pytest.fixture(autouse=True)
def password(monkeypatch: pytest.MonkeyPatch) -> None:
    """Alice's password in the environment."""
    monkeypatch.setenv("MEGAPHONE_PROBE_PASSWORD", ALICE.password)


@pytest.fixture
def probe(authority: CertificateAuthority, capsys: pytest.CaptureFixture[str]) -> Callable[..., tuple[int, str, str]]:
    """Run `megaphone probe` for an endpoint; exit code, standard output, standard error."""

    def run(endpoint: Endpoint | int, *options: str, jid: str = ALICE.jid) -> tuple[int, str, str]:
        if isinstance(endpoint, Endpoint):
            where = ["--host", endpoint.host, "--port", str(endpoint.port), "--tls", endpoint.tls]
        else:
            where = ["--host", LOOPBACK, "--port", str(endpoint)]
        trust = [] if {"--ca", "--insecure"} & set(options) else ["--ca", str(authority.certificate)]
        try:
            code = main(["probe", *where, *trust, *options, jid])
        except SystemExit as exit_:
            code = int(str(exit_.code))
        captured = capsys.readouterr()
        assert "Traceback" not in captured.out + captured.err
        return code, captured.out, captured.err

    return run


@pytest.fixture
def mute_port() -> Iterator[int]:
    """A port that accepts connections and never says a word."""
    with socket.create_server((LOOPBACK, 0)) as server:
        kept = []
        thread = threading.Thread(target=lambda: kept.append(server.accept()), daemon=True)
        thread.start()
        yield server.getsockname()[1]
        for connection, _ in kept:
            connection.close()


@pytest.mark.parametrize("tls", ["starttls", "direct"])
@pytest.mark.parametrize("server", ["prosody", "ejabberd"])
def test_each_step_is_printed_with_its_time(
    server: str, tls: str, probe: Callable[..., tuple[int, str, str]], request: pytest.FixtureRequest
) -> None:
    code, out, err = probe(getattr(request.getfixturevalue(server), tls))
    assert (code, err) == (0, "")
    *lines, last = out.splitlines()
    expected = [step for step in STEPS if step != "starttls" or tls == "starttls"]
    assert [re.match(r"(\w+) +\d+\.\d ms  \S", line)[1] for line in lines] == expected  # type: ignore[index]
    assert re.fullmatch(r"ok in \d+\.\d ms", last)
    assert "TLSv1.3 TLS_AES_256_GCM_SHA384, certificate expires 20" in out
    assert "SCRAM-SHA-1" in out


def test_json_has_every_fact(probe: Callable[..., tuple[int, str, str]], ejabberd: Ejabberd) -> None:
    code, out, err = probe(ejabberd.starttls, "--json", jid=f"{ALICE.jid}/probe")
    assert (code, err) == (0, "")
    report = json.loads(out)
    assert report["ok"] is True
    assert report["reason"] is None
    assert [step["step"] for step in report["steps"]] == STEPS
    assert sum(step["seconds"] for step in report["steps"]) <= report["total_seconds"]
    facts = {step["step"]: step for step in report["steps"]}
    assert facts["tls"]["version"] == "TLSv1.3"
    assert facts["tls"]["verified"] is True
    assert 29 < facts["tls"]["certificate_days_left"] <= 30
    assert facts["authenticate"]["mechanism"] == "SCRAM-SHA-1"
    assert facts["bind"]["jid"] == f"{ALICE.jid}/probe"


def test_failure_in_json(probe: Callable[..., tuple[int, str, str]]) -> None:
    code, out, err = probe(free_port(), "--json")
    report = json.loads(out)
    assert code == 1
    assert (report["ok"], report["failed_step"], report["reason"]) == (False, "connect", "Connection refused")
    assert err == "megaphone: error: connect: Connection refused\n"


def test_refused_connection(probe: Callable[..., tuple[int, str, str]]) -> None:
    code, out, err = probe(free_port())
    assert (code, err) == (1, "megaphone: error: connect: Connection refused\n")
    assert re.search(r"^connect +\d+\.\d ms  FAILED: Connection refused$", out, re.MULTILINE)


def test_unknown_host(probe: Callable[..., tuple[int, str, str]]) -> None:
    code, _, err = probe(5222, "--host", "nowhere.invalid")
    assert code == 1
    assert err.startswith("megaphone: error: resolve: cannot resolve nowhere.invalid: ")


@pytest.mark.parametrize(("tls", "step"), [("starttls", "starttls"), ("direct", "tls")])
def test_silent_server(probe: Callable[..., tuple[int, str, str]], mute_port: int, tls: str, step: str) -> None:
    code, _, err = probe(mute_port, "--timeout", "2.5", "--tls", tls)
    assert (code, err) == (1, f"megaphone: error: {step}: no answer within 2.5 s\n")


@pytest.mark.parametrize("tls", ["starttls", "direct"])
def test_untrusted_certificate(
    probe: Callable[..., tuple[int, str, str]], prosody: Prosody, tls: str, tmp_path: Path
) -> None:
    other = CertificateAuthority(tmp_path)
    code, _, err = probe(getattr(prosody, tls), "--ca", str(other.certificate))
    assert code == 1
    assert err.startswith("megaphone: error: tls: the certificate is not to be trusted: ")
    code, out, _ = probe(getattr(prosody, tls), "--insecure")
    assert code == 0
    assert "NOT verified" in out


def test_expired_certificate(
    probe: Callable[..., tuple[int, str, str]], authority: CertificateAuthority, tmp_path: Path
) -> None:
    now = datetime.datetime.now(datetime.UTC)
    yesterday = now - datetime.timedelta(days=1)
    files = authority.issue(
        "expired.test", "example.test", valid_from=yesterday - datetime.timedelta(days=9), valid_until=yesterday
    )
    server = Prosody(tmp_path / "prosody", authority, "public", certificate=files)
    try:
        server.start()
        code, _, err = probe(server.direct)
    finally:
        server.stop()
    assert code == 1
    assert err == "megaphone: error: tls: the certificate is not to be trusted: certificate has expired\n"


def test_wrong_kind_of_port(probe: Callable[..., tuple[int, str, str]], prosody: Prosody) -> None:
    code, _, err = probe(prosody.starttls, "--tls", "direct")
    assert code == 1
    assert err.endswith("this port may expect --tls starttls\n")
    code, _, err = probe(prosody.direct, "--tls", "starttls")
    assert code == 1
    assert err.endswith("it may expect --tls direct on this port\n")


def test_server_without_tls(probe: Callable[..., tuple[int, str, str]], prosody_behind_edge: Prosody) -> None:
    code, _, err = probe(prosody_behind_edge.plain.port)
    assert (code, err) == (1, "megaphone: error: starttls: the server does not offer STARTTLS here\n")


def test_unknown_domain(probe: Callable[..., tuple[int, str, str]], ejabberd: Ejabberd) -> None:
    code, _, err = probe(ejabberd.starttls, jid="alice@elsewhere.test")
    assert (code, err) == (1, "megaphone: error: starttls: the server ended the stream: host-unknown\n")


@pytest.mark.parametrize("server", ["prosody", "ejabberd"])
def test_wrong_password(
    server: str,
    probe: Callable[..., tuple[int, str, str]],
    request: pytest.FixtureRequest,
    tmp_path: Path,
) -> None:
    (tmp_path / "password").write_text("wrong\nnot read\n")
    code, _, err = probe(request.getfixturevalue(server).starttls, "--password-file", str(tmp_path / "password"))
    assert code == 1
    assert err.startswith("megaphone: error: authenticate: the server refused the login: not-authorized")


def test_password_file_goes_before_the_environment(
    probe: Callable[..., tuple[int, str, str]],
    ejabberd: Ejabberd,
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
) -> None:
    monkeypatch.setenv("MEGAPHONE_PROBE_PASSWORD", "wrong")
    (tmp_path / "password").write_text(ALICE.password + "\r\n")
    code, _, _ = probe(ejabberd.starttls, "--password-file", str(tmp_path / "password"))
    assert code == 0


@pytest.mark.parametrize(
    ("options", "jid", "reason"),
    [
        ([], "example.test", "'example.test' names no account; write user@domain"),
        ([], "alice@", "'alice@' is no JID: "),
        (["--port", "65536"], ALICE.jid, "argument --port: '65536' is no port (1 to 65535)"),
        (["--timeout", "nan"], ALICE.jid, "argument --timeout: 'nan' is no time"),
        (["--ca", "/nonexistent"], ALICE.jid, "/nonexistent: No such file or directory"),
        (["--ca", "/etc/hosts"], ALICE.jid, "/etc/hosts: holds no PEM certificate"),
        (["--ca", "/etc/hosts", "--insecure"], ALICE.jid, "not allowed with argument"),
        (["--password-file", "/nonexistent"], ALICE.jid, "/nonexistent: No such file or directory"),
        (["--password-file", "/dev/null"], ALICE.jid, "the password is empty (/dev/null)"),
        (["--tls", "none"], ALICE.jid, "invalid choice: 'none'"),
    ],
)
def test_wrong_usage(probe: Callable[..., tuple[int, str, str]], options: list[str], jid: str, reason: str) -> None:
    code, out, err = probe(5222, *options, jid=jid)
    assert (code, out) == (2, "")
    assert reason in err


def test_no_password_at_all(probe: Callable[..., tuple[int, str, str]], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("MEGAPHONE_PROBE_PASSWORD")
    code, _, err = probe(5222)
    assert code == 2
    assert err == "megaphone: error: no password: give --password-file FILE or set MEGAPHONE_PROBE_PASSWORD\n"
