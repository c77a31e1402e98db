"""The secret of a link: from a small file that not everybody may read."""

from pathlib import Path

import pytest

from megaphone.config.link_secret import read_secret


@pytest.mark.parametrize(
    ("held", "secret"),
    [
        (b"x" * 16, b"x" * 16),
        (b"x" * 1024 + b"\n", b"x" * 1024),
        (b"x" * 32 + b"\r\n", b"x" * 32),
        (b"x" * 32 + b"\n\n", b"x" * 32 + b"\n"),
        (bytes(range(32)), bytes(range(32))),
    ],
)
def test_one_line_break_at_the_end_does_not_count(tmp_path: Path, held: bytes, secret: bytes) -> None:
    path = tmp_path / "secret"
    path.touch(mode=0o640)
    path.write_bytes(held)
    assert read_secret(str(path)) == secret


@pytest.mark.parametrize(
    ("held", "mode", "reason"),
    [
        (b"x" * 15 + b"\n", 0o600, "holds 15 bytes instead of 16 to 1024"),
        (b"x" * 1025, 0o600, "holds more than 1024 bytes instead of 16 to 1024"),
        (b"x" * 100_000, 0o600, "holds more than 1024 bytes instead of 16 to 1024"),
        (b"x" * 32, 0o604, "can be read by every user of this machine; use chmod 600"),
    ],
)
def test_other_secrets_are_refused(tmp_path: Path, held: bytes, mode: int, reason: str) -> None:
    path = tmp_path / "secret"
    path.write_bytes(held)
    path.chmod(mode)
    with pytest.raises(ValueError, match=reason):
        read_secret(str(path))


@pytest.mark.parametrize("path", ["/nonexistent/secret", "/", "a\0b"])
def test_what_is_no_file_is_refused(path: str) -> None:
    with pytest.raises(ValueError, match="cannot be read"):
        read_secret(path)
