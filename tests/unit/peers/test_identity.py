"""The certificate of a node key."""

import ssl

import pytest
from cryptography import x509
from cryptography.hazmat.primitives.asymmetric.ec import SECP256R1, generate_private_key
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat

from megaphone.errors import PeerError
from megaphone.peers.identity import Identity
from megaphone.peers.names import fingerprint_digits
from tests.unit.peers.people import Key


def test_the_certificate_holds_the_node_key_and_signs_itself() -> None:
    key = Key()
    identity = Identity(key, key.pem)
    certificate = x509.load_pem_x509_certificate(identity.certificate)
    assert certificate.public_key().public_bytes_raw() == key.origin == identity.origin
    certificate.verify_directly_issued_by(certificate)
    assert certificate.subject.rfc4514_string() == f"CN={fingerprint_digits(key.origin)}"


def test_only_tls_1_3_is_spoken() -> None:
    key = Key()
    identity = Identity(key, key.pem)
    for context in (identity.listening, identity.dialling):
        assert context.minimum_version is ssl.TLSVersion.TLSv1_3


def of_another_kind() -> bytes:
    return generate_private_key(SECP256R1()).private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())


@pytest.mark.parametrize(
    ("pem", "said"),
    [
        (b"", "cannot be read"),
        (b"garbage", "cannot be read"),
        (of_another_kind(), "not of Ed25519"),
        (Key().pem, "signer's"),
    ],
)
def test_a_key_that_is_not_ours(pem: bytes, said: str) -> None:
    with pytest.raises(PeerError, match=said):
        Identity(Key(), pem)
