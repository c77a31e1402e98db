"""What the configuration needs from the machine: certificates, OpenSSL's opinion, sockets, directories."""

import datetime
import os
import shutil
import socket
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from cryptography.hazmat.primitives import serialization

from megaphone.config.load import check_environment, parse
from megaphone.errors import ConfigError
from tests.servers.certificates import CertificateAuthority, CertificateFiles

NOW = datetime.datetime.now(datetime.UTC)
DAY = datetime.timedelta(days=1)
SERVER = '[[upstream]]\nname = "server"\naddress = "127.0.0.1:5232"\n'


@pytest.fixture(scope="module")
def authority(tmp_path_factory: pytest.TempPathFactory) -> CertificateAuthority:
    return CertificateAuthority(tmp_path_factory.mktemp("authority"))


@pytest.fixture(scope="module")
def good(authority: CertificateAuthority) -> CertificateFiles:
    return authority.issue("example.org", "*.example.net", "xn--bcher-kva.example")


@pytest.fixture
def open_directory() -> Iterator[Path]:
    """A directory that any user may enter, unlike pytest's own."""
    made = Path(tempfile.mkdtemp(prefix="megaphone-"))
    made.chmod(0o755)
    yield made
    shutil.rmtree(made)


@contextmanager
def without_privileges() -> Iterator[None]:
    """Be nobody for a while if this is root, who may do everything."""
    user = os.geteuid()
    if user == 0:
        os.seteuid(65_534)
    try:
        yield
    finally:
        os.seteuid(user)


def check(
    directory: Path,
    *certificates: tuple[Path | str, Path | str],
    domain: str = "example.org",
    upstream: str = SERVER,
    more: str = "",
    admin: str = 'address = ""',
) -> tuple[str, ...]:
    text = f'[[listen]]\naddress = "127.0.0.1:0"\ntls = "{"starttls" if certificates else "none"}"\n'
    for chain, key in certificates:
        text += f'[[certificate]]\nchain = "{chain}"\nkey = "{key}"\n'
    text += f'[[domain]]\nname = "{domain}"\nupstreams = ["server"]\n{upstream}\n{more}\n[admin]\n{admin}\n'
    if "socket =" not in admin:
        text += f'socket = "{directory}/admin.sock"\n'
    file = str(directory / "megaphone.toml")
    return check_environment(parse(text, file), file)


def refusal(directory: Path, *certificates: tuple[Path | str, Path | str], **settings: str) -> tuple[str, str]:
    with pytest.raises(ConfigError) as caught:
        check(directory, *certificates, **settings)
    assert caught.value.file == str(directory / "megaphone.toml")
    return caught.value.key, caught.value.reason


@pytest.mark.parametrize("domain", ["example.org", "a.example.net", "bücher.example"])
def test_good_certificate_has_no_warning(tmp_path: Path, good: CertificateFiles, domain: str) -> None:
    assert check(tmp_path, (good.chain, good.key), domain=domain) == ()
    assert check(tmp_path, (good.combined, good.combined), domain=domain) == ()


def test_relative_paths_start_at_the_configuration_file(good: CertificateFiles) -> None:
    assert check(good.chain.parent, (good.chain.name, good.key.name)) == ()


def test_missing_files(tmp_path: Path, good: CertificateFiles) -> None:
    assert refusal(tmp_path, ("absent.crt", good.key)) == (
        "certificate[0].chain",
        f"{tmp_path}/absent.crt: cannot be read: No such file or directory",
    )
    assert refusal(tmp_path, (good.chain, good.key), (good.chain, tmp_path)) == (
        "certificate[1].key",
        f"{tmp_path}: cannot be read: Is a directory",
    )


def test_unreadable_key(open_directory: Path, good: CertificateFiles) -> None:
    chain, secret = open_directory / "a.crt", open_directory / "a.key"
    chain.write_bytes(good.chain.read_bytes())
    secret.write_bytes(good.key.read_bytes())
    secret.chmod(0)
    with without_privileges():
        assert refusal(open_directory, (chain, secret)) == (
            "certificate[0].key",
            f"{secret}: cannot be read: Permission denied",
        )


def test_files_that_are_not_what_they_should_be(tmp_path: Path, good: CertificateFiles) -> None:
    assert refusal(tmp_path, (good.key, good.key)) == (
        "certificate[0].chain",
        f"{good.key}: holds no certificate in PEM form",
    )
    assert refusal(tmp_path, (good.chain, good.chain)) == (
        "certificate[0].key",
        f"{good.chain}: holds no private key in PEM form",
    )
    broken = tmp_path / "broken.crt"
    broken.write_text(good.chain.read_text().replace("M", "!", 5))
    key, reason = refusal(tmp_path, (broken, good.key))
    assert key == "certificate[0].chain"
    assert str(broken) in reason


def test_key_of_another_certificate(tmp_path: Path, authority: CertificateAuthority, good: CertificateFiles) -> None:
    other = authority.issue("other.example")
    assert refusal(tmp_path, (good.chain, other.key)) == (
        "certificate[0].key",
        f"{other.key}: is not the key of the certificate in {good.chain}",
    )


def test_encrypted_key(tmp_path: Path, good: CertificateFiles) -> None:
    key = serialization.load_pem_private_key(good.key.read_bytes(), None)
    for style in (serialization.PrivateFormat.PKCS8, serialization.PrivateFormat.TraditionalOpenSSL):
        encrypted = tmp_path / "encrypted.key"
        encrypted.write_bytes(
            key.private_bytes(serialization.Encoding.PEM, style, serialization.BestAvailableEncryption(b"secret"))
        )
        found_key, reason = refusal(tmp_path, (good.chain, encrypted))
        assert found_key == "certificate[0].key"
        assert "is encrypted" in reason


@pytest.mark.parametrize(
    ("valid_from", "valid_until", "warning"),
    [
        (-2 * DAY, -DAY, "has expired"),
        (DAY, 2 * DAY, "is not valid yet"),
        (-DAY, 3 * DAY, "expires in 3.0 days"),
    ],
)
def test_validity_is_a_warning(
    tmp_path: Path,
    valid_from: datetime.timedelta,
    valid_until: datetime.timedelta,
    warning: str,
) -> None:
    files = CertificateAuthority(tmp_path).issue(
        "example.org", valid_from=NOW + valid_from, valid_until=NOW + valid_until
    )
    assert check(tmp_path, (files.chain, files.key)) == (f"certificate[0].chain: {files.chain}: {warning}",)


def test_domain_without_a_certificate_is_a_warning(tmp_path: Path, good: CertificateFiles) -> None:
    for domain in ("elsewhere.example", "example.net", "a.b.example.net"):
        assert check(tmp_path, (good.chain, good.key), domain=domain) == (
            f"domain[0].name: no certificate is for {domain}, so clients will not trust the connection",
        )


@pytest.mark.parametrize(
    ("more", "key"),
    [('[tls]\nciphers = "NO-SUCH-CIPHER"', "tls.ciphers"), ('[tls]\ngroups = "X25519:P-257"', "tls.groups")],
)
def test_openssl_judges_its_own_lists(tmp_path: Path, good: CertificateFiles, more: str, key: str) -> None:
    found_key, reason = refusal(tmp_path, (good.chain, good.key), more=more)
    assert found_key == key
    assert more.partition('"')[2].removesuffix('"') in reason


def test_unix_socket_of_an_upstream(tmp_path: Path) -> None:
    path = tmp_path / "server.sock"
    upstream = f'[[upstream]]\nname = "server"\naddress = "unix:{path}"\n'
    assert refusal(tmp_path, upstream=upstream) == (
        "upstream[0].address",
        f"cannot reach {path}: No such file or directory",
    )
    path.touch()
    assert refusal(tmp_path, upstream=upstream) == (
        "upstream[0].address",
        f"cannot connect to {path}: it is not a socket",
    )
    path.unlink()
    with socket.socket(socket.AF_UNIX) as server:
        server.bind(str(path))
        assert check(tmp_path, upstream=upstream) == ()


def test_unused_upstream_is_a_warning(tmp_path: Path) -> None:
    assert check(tmp_path, more='[[upstream]]\nname = "spare"\naddress = "a:1"') == (
        'upstream[1].name: no domain uses "spare"',
    )


@pytest.mark.parametrize(
    ("address", "warned"),
    [("127.0.0.1:9280", False), ("localhost:9280", False), ("[::1]:9280", False), ("*:9280", True), ("[::]:1", True)],
)
def test_open_admin_address_is_a_warning(tmp_path: Path, address: str, warned: bool) -> None:
    warnings = check(tmp_path, admin=f'address = "{address}"')
    assert warnings == (
        (f"admin.address: {address} can be read from outside this machine, without a password",) if warned else ()
    )


def test_directory_of_the_control_socket(tmp_path: Path) -> None:
    assert check(tmp_path, admin=f'address = ""\nsocket = "{tmp_path}/new/deep/admin.sock"') == ()
    (tmp_path / "file").touch()
    assert refusal(tmp_path, admin=f'address = ""\nsocket = "{tmp_path}/file/admin.sock"') == (
        "admin.socket",
        f"cannot be created: {tmp_path}/file is not a directory",
    )


def test_control_socket_in_a_directory_of_somebody_else(open_directory: Path) -> None:
    closed = open_directory / "closed"
    closed.mkdir(mode=0o555)
    with without_privileges():
        assert check(open_directory, admin=f'address = ""\nsocket = "{closed}/run/admin.sock"') == (
            f"admin.socket: this user may not create files in {closed}, and {closed}/run does not exist",
        )


def test_unix_socket_that_this_user_may_not_use(open_directory: Path) -> None:
    path = open_directory / "server.sock"
    with socket.socket(socket.AF_UNIX) as server:
        server.bind(str(path))
        path.chmod(0)
        with without_privileges():
            assert refusal(open_directory, upstream=f'[[upstream]]\nname = "server"\naddress = "unix:{path}"\n') == (
                "upstream[0].address",
                f"cannot connect to {path}: this user may not write to it",
            )


def with_token(tmp_path: Path, content: bytes, mode: int = 0o600) -> str:
    path = tmp_path / "token"
    path.write_bytes(content)
    path.chmod(mode)
    return 'address = "127.0.0.1:0"\ntoken_file = "token"'  # beside the configuration file


def test_a_token_of_operators_can_be_used(tmp_path: Path) -> None:
    assert check(tmp_path, admin=with_token(tmp_path, b"an-operators/token==\n")) == ()


@pytest.mark.parametrize(
    ("content", "mode", "reason"),
    [
        (b"too short\n", 0o600, "holds no token of 16 to 512 bytes"),
        (b"x" * 513, 0o600, "holds no token of 16 to 512 bytes"),
        (b"two words are no token\n", 0o600, "holds other characters than letters"),
        (b"an-operators/token==\n", 0o604, "can be read by every user of this machine; use chmod 600"),
    ],
)
def test_a_token_of_operators_that_cannot_be_used(tmp_path: Path, content: bytes, mode: int, reason: str) -> None:
    key, said = refusal(tmp_path, admin=with_token(tmp_path, content, mode))
    assert key == "admin.token_file"
    assert said.startswith(f"{tmp_path / 'token'}: {reason}")


def test_a_token_that_is_not_there(tmp_path: Path) -> None:
    key, said = refusal(tmp_path, admin='address = "127.0.0.1:0"\ntoken_file = "token"')
    assert (key, said) == ("admin.token_file", f"{tmp_path / 'token'}: cannot be read: No such file or directory")
