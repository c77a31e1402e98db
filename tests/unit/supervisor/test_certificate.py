"""The end of a certificate's validity, against the `cryptography` package's own reading of the same file."""

import datetime
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from megaphone.config.schema import Certificate
from megaphone.supervisor.certificate import expires_at_seconds, expiries, not_after


def make(until: datetime.datetime, name: str = "example.org", serial: int = 77) -> x509.Certificate:
    key = ec.generate_private_key(ec.SECP256R1())
    subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])
    builder = x509.CertificateBuilder(
        subject, subject, key.public_key(), serial, until - datetime.timedelta(900), until
    )
    return builder.sign(key, hashes.SHA256())


def pem(certificate: x509.Certificate) -> bytes:
    return certificate.public_bytes(serialization.Encoding.PEM)


@pytest.mark.parametrize(
    "until",
    [
        datetime.datetime(2027, 1, 2, 3, 4, 5),
        datetime.datetime(2020, 2, 29, 23, 59, 59),  # expired, which is when it matters most
        datetime.datetime(1999, 12, 31),
        datetime.datetime(2049, 12, 31, 23, 59, 59),  # the last UTCTime
        datetime.datetime(2050, 1, 1),  # the first GeneralizedTime
        datetime.datetime(9999, 12, 31, 23, 59, 59),
    ],
)
def test_the_end_of_validity(tmp_path: Path, until: datetime.datetime) -> None:
    path = tmp_path / "chain.pem"
    path.write_bytes(b"some text before\n" + pem(make(until)) + pem(make(datetime.datetime(2030, 1, 1))))
    assert expires_at_seconds(str(path)) == until.replace(tzinfo=datetime.UTC).timestamp()


def test_long_names_and_numbers_have_long_lengths() -> None:
    until = datetime.datetime(2031, 5, 6)
    certificate = make(until, name="x" * 64, serial=2**158)
    der = certificate.public_bytes(serialization.Encoding.DER)
    assert not_after(der) == until.replace(tzinfo=datetime.UTC).timestamp()


def test_no_prefix_of_a_certificate_is_mistaken_for_one() -> None:
    der = make(datetime.datetime(2031, 5, 6)).public_bytes(serialization.Encoding.DER)
    for length in range(len(der)):
        with pytest.raises(ValueError, match="certificate"):
            not_after(der[:length])


def test_a_file_without_a_certificate_has_no_end(tmp_path: Path) -> None:
    path = tmp_path / "chain.pem"
    assert expires_at_seconds(str(path)) is None
    for content in (b"", b"-----BEGIN CERTIFICATE-----\n!!\n-----END CERTIFICATE-----\n", b"\x00\xff" * 50):
        path.write_bytes(content)
        assert expires_at_seconds(str(path)) is None


def test_only_files_that_can_be_read_are_listed(tmp_path: Path) -> None:
    until = datetime.datetime(2031, 5, 6, tzinfo=datetime.UTC)
    (tmp_path / "good.pem").write_bytes(pem(make(until.replace(tzinfo=None))))
    good, bad = (Certificate(chain=str(tmp_path / name), key="") for name in ("good.pem", "bad.pem"))
    assert expiries([good, bad]) == {good.chain: until.timestamp()}
