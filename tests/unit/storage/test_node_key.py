"""The key of a node: made once, for its owner alone; every file that cannot be used, in words."""

import os
import stat
import subprocess
import sys
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey
from cryptography.hazmat.primitives.serialization import (
    BestAvailableEncryption,
    Encoding,
    NoEncryption,
    PrivateFormat,
)

from megaphone.errors import ConfigError
from megaphone.storage.node_key import NodeKey, verify

# RFC 8032 section 7.1, TEST 3
SECRET = bytes.fromhex("c5aa8df43f9f837bedb7442f31dcb7b166d38535076f094b85ce3a2e0b4458f7")
PUBLIC = bytes.fromhex("fc51cd8e6218a1a38da47ed00230f0580816ed13ba3303ac5deb911548908025")
SIGNATURE = bytes.fromhex(
    "6291d657deec24024827e69c3abe01a30ce548a284743a445e3680d7db5ac3ac"
    "18ff9b538d16f290ae67f760984dc6594a7c15e9716ed28dc027beceea1ec40a"
)


def test_the_vector_of_the_rfc() -> None:
    key = NodeKey(Ed25519PrivateKey.from_private_bytes(SECRET))
    assert key.origin == PUBLIC
    assert key.sign(b"\xaf\x82") == SIGNATURE
    assert verify(PUBLIC, SIGNATURE, b"\xaf\x82")


@pytest.mark.parametrize(
    ("key", "signature", "data"),
    [
        (PUBLIC, SIGNATURE, b"\xaf\x83"),
        (PUBLIC, SIGNATURE[:-1] + b"\x0b", b"\xaf\x82"),
        (PUBLIC, SIGNATURE[:-1], b"\xaf\x82"),
        (PUBLIC, b"", b"\xaf\x82"),
        (PUBLIC[::-1], SIGNATURE, b"\xaf\x82"),
        (PUBLIC[:-1], SIGNATURE, b"\xaf\x82"),
        (b"", SIGNATURE, b"\xaf\x82"),
        (b"\xff" * 32, SIGNATURE, b"\xaf\x82"),
        (bytes(32), bytes(64), b"\xaf\x82"),
    ],
)
def test_what_is_no_signature(key: bytes, signature: bytes, data: bytes) -> None:
    assert verify(key, signature, data) is False


def test_a_key_is_made_once_and_for_its_owner_alone(tmp_path: Path) -> None:
    path = tmp_path / "new" / "node.pem"
    key = NodeKey.open(str(path))
    again = NodeKey.open(str(path))
    assert key.origin == again.origin
    assert verify(key.origin, again.sign(b"data"), b"data")
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert path.read_bytes().startswith(b"-----BEGIN PRIVATE KEY-----\n")
    assert os.listdir(path.parent) == ["node.pem"]
    assert NodeKey.open(str(tmp_path / "other.pem")).origin != key.origin


def test_many_may_make_it_at_once(tmp_path: Path) -> None:
    program = (
        "import sys; from megaphone.storage.node_key import NodeKey; sys.stdin.read(1);"
        " print(NodeKey.open(sys.argv[1]).origin.hex())"
    )
    command = [sys.executable, "-c", program, str(tmp_path / "node.pem")]
    processes = [subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE) for _ in range(5)]
    for process in processes:
        assert process.stdin is not None
        process.stdin.close()
    said = set()
    for process in processes:
        assert process.stdout is not None
        said.add(process.stdout.read())
        assert process.wait(60) == 0
    assert len(said) == 1
    assert os.listdir(tmp_path) == ["node.pem"]


@pytest.mark.parametrize("mode", [0o644, 0o640, 0o604, 0o660])
def test_a_key_that_others_may_read(tmp_path: Path, mode: int) -> None:
    path = tmp_path / "node.pem"
    NodeKey.open(str(path))
    path.chmod(mode)
    with pytest.raises(ConfigError, match=rf"^{path}: may be read by others \(mode 0{mode:o}\)"):
        NodeKey.open(str(path))


PLAIN = (Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
LOCKED = (Encoding.PEM, PrivateFormat.PKCS8, BestAvailableEncryption(b"secret"))


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (b"", "is no private key in PEM"),
        (b"\0" * 200, "is no private key in PEM"),
        (b"-----BEGIN PRIVATE KEY-----\nAAAA\n-----END PRIVATE KEY-----\n", "is no private key in PEM"),
        (NodeKey.new()._key.private_bytes(*PLAIN)[:-40], "is no private key in PEM"),
        (NodeKey.new()._key.private_bytes(*LOCKED), "or has a password"),
        (X25519PrivateKey.generate().private_bytes(*PLAIN), "is no Ed25519 key"),
    ],
    ids=["empty", "zeros", "broken", "cut off", "locked", "X25519"],
)
def test_a_broken_file_is_said_and_stays(tmp_path: Path, content: bytes, said: str) -> None:
    path = tmp_path / "node.pem"
    path.write_bytes(content)
    path.chmod(0o600)
    with pytest.raises(ConfigError, match=f"^{path}: .*{said}"):
        NodeKey.open(str(path))
    assert path.read_bytes() == content


def test_what_is_no_file_or_cannot_be_made(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="cannot be read: Is a directory"):
        NodeKey.open(str(tmp_path))
    os.mkfifo(tmp_path / "pipe", 0o600)
    with pytest.raises(ConfigError, match="is not a file"):
        NodeKey.open(str(tmp_path / "pipe"))
    (tmp_path / "file").touch()
    with pytest.raises(ConfigError, match="cannot be read: Not a directory"):
        NodeKey.open(str(tmp_path / "file" / "node.pem"))
