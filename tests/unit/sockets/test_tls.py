"""Certificates, keys and tickets: what OpenSSL refuses is said in words."""

from collections.abc import Callable
from pathlib import Path

import pytest

from megaphone.errors import TLSError
from megaphone.sockets.tls import TLS
from megaphone.sockets.tls_contexts import CertificateChoice, TLSContext
from megaphone.sockets.tls_tickets import set_ticket_keys
from tests.servers.certificates import CertificateAuthority, CertificateFiles


@pytest.fixture(scope="module")
def files(authority: CertificateAuthority) -> CertificateFiles:
    return authority.issue("example.org", "*.example.com", "192.0.2.1")


def test_a_certificate_serves_its_names(files: CertificateFiles) -> None:
    context = TLSContext(str(files.chain), str(files.key))
    served = {
        name: context.serves(name)
        for name in ("example.org", "a.example.com", "example.com", "a.b.example.com", "a.example.org", "192.0.2.1")
    }
    assert served == {
        "example.org": True,
        "a.example.com": True,
        "example.com": False,
        "a.b.example.com": False,
        "a.example.org": False,
        "192.0.2.1": False,  # SNI never is an address (RFC 6066 section 3)
    }


def test_configured_names_replace_those_of_the_certificate(files: CertificateFiles) -> None:
    context = TLSContext(str(files.chain), str(files.key), ("Chat.Example.NET", "*.example.net"))
    assert context.serves("chat.example.net")
    assert context.serves("other.example.net")
    assert not context.serves("a.b.example.net")
    assert not context.serves("example.org")


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (lambda files, other: {"chain": "/nowhere.crt"}, r"certificate chain /nowhere\.crt: .*"),
        (lambda files, other: {"chain": str(files.key)}, r"certificate chain .*\.key: no start line"),
        (lambda files, other: {"key": "/nowhere.key"}, r"private key /nowhere\.key: .*"),
        (lambda files, other: {"key": str(files.chain)}, r"private key .*\.crt: .*"),
        (lambda files, other: {"key": str(other.key)}, r"private key .*: key values mismatch"),
        (lambda files, other: {"ciphers": "NONSENSE"}, r"ciphers 'NONSENSE': no cipher match"),
        (lambda files, other: {"groups": "nonsense"}, r"groups 'nonsense': .*"),
    ],
)
def test_what_cannot_be_used_is_named(
    authority: CertificateAuthority,
    files: CertificateFiles,
    change: Callable[[CertificateFiles, CertificateFiles], dict[str, str]],
    words: str,
) -> None:
    other = authority.issue("other.example")
    options = {"chain": str(files.chain), "key": str(files.key)} | change(files, other)
    with pytest.raises(TLSError, match=f"^{words}$"):
        TLSContext(**options)  # type: ignore[arg-type]


def test_an_empty_chain_is_refused(tmp_path: Path, files: CertificateFiles) -> None:
    empty = tmp_path / "empty.crt"
    empty.touch()
    with pytest.raises(TLSError, match="no start line"):
        TLSContext(str(empty), str(files.key))


@pytest.mark.parametrize("keys", [[], [bytes(79)], [bytes(81)], [bytes(80)] * 4, [bytes(80), b""]])
def test_ticket_keys_of_another_shape_are_refused(keys: list[bytes]) -> None:
    with pytest.raises(ValueError, match="1 to 3 ticket keys of 80 bytes"):
        set_ticket_keys(keys)


def test_a_session_needs_certificates() -> None:
    with pytest.raises(TypeError):
        TLS(None)
    with pytest.raises(ValueError, match="a choice needs a certificate"):
        CertificateChoice([])
