"""Who we are to our peers: the node key, a certificate made from it, and TLS contexts that show it.

The side that is dialled (the listener) proves its key by TLS itself: its certificate holds the node key, and TLS 1.3
makes it sign the handshake with that (RFC 8446 section 4.4.3). Who dials checks that signature by reading the key out
of the certificate that OpenSSL has just verified it with; no authority is asked, `megaphone.peers.pins` decides whether
the key may be. Who dials proves its own key inside the channel (`megaphone.peers.hello`): a listener of Python's ssl
cannot be shown a certificate that it does not know beforehand.
"""

from __future__ import annotations

import datetime
import os
import ssl
from typing import TYPE_CHECKING, Final

from cryptography import x509
from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey
from cryptography.hazmat.primitives.serialization import Encoding, load_pem_private_key
from cryptography.x509.oid import NameOID

from megaphone.errors import PeerError
from megaphone.history.entry import Origin
from megaphone.peers.names import fingerprint_digits

if TYPE_CHECKING:
    from megaphone.history.ports import Signer

ALPN: Final = "megaphone-peer/1"
CERTIFICATE_LIMIT_BYTES: Final = 16_384

_BEGIN: Final = datetime.datetime(2020, 1, 1, tzinfo=datetime.UTC)
_NO_END: Final = datetime.datetime(9999, 12, 31, 23, 59, 59, tzinfo=datetime.UTC)  # RFC 5280 section 4.1.2.5


class Identity:
    """A node key at work. `origin` is its public half; `listening` and `dialling` are the TLS contexts."""

    def __init__(self, signer: Signer, private_key_pem: bytes) -> None:
        """Make the certificate; PeerError if the PEM does not hold the signer's Ed25519 key."""
        private_key = _private_key(private_key_pem)
        self.origin = Origin(private_key.public_key().public_bytes_raw())
        if self.origin != signer.origin:
            raise PeerError("the private key is not the signer's")
        self.sign = signer.sign
        self.certificate = _self_signed(private_key)
        self.listening = _context(ssl.PROTOCOL_TLS_SERVER)
        self.listening.num_tickets = 0  # a resumed session shows no certificate
        _load(self.listening, self.certificate + private_key_pem)
        self.dialling = _context(ssl.PROTOCOL_TLS_CLIENT)


def listener_key(tls: ssl.SSLObject) -> Origin:
    """Return the node key that a listener has proved in the handshake of this dialled connection; PeerError."""
    certificate = tls.getpeercert(binary_form=True)
    if tls.selected_alpn_protocol() != ALPN:
        raise PeerError("is no peer of Megaphone")
    if certificate is None or len(certificate) > CERTIFICATE_LIMIT_BYTES:
        raise PeerError("shows no certificate that could be read")
    try:
        key = x509.load_der_x509_certificate(certificate).public_key()
    except (ValueError, UnsupportedAlgorithm):
        raise PeerError("shows no certificate that could be read") from None
    if not isinstance(key, Ed25519PublicKey):
        raise PeerError("shows a certificate without a node key")
    return Origin(key.public_bytes_raw())


def _private_key(pem: bytes) -> Ed25519PrivateKey:
    try:
        key = load_pem_private_key(pem, None)
    except (ValueError, TypeError, UnsupportedAlgorithm) as error:
        raise PeerError(f"the private key cannot be read: {error}") from None
    if not isinstance(key, Ed25519PrivateKey):
        raise PeerError("the private key is not of Ed25519")
    return key


def _self_signed(key: Ed25519PrivateKey) -> bytes:
    """Return a certificate, PEM, named by the key's fingerprint; only its key means anything."""
    public = key.public_key()
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, fingerprint_digits(public.public_bytes_raw()))])
    certificate = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(public)
        .serial_number(x509.random_serial_number())
        .not_valid_before(_BEGIN)
        .not_valid_after(_NO_END)
        .sign(key, None)
    )
    return certificate.public_bytes(Encoding.PEM)


def _context(protocol: int) -> ssl.SSLContext:
    context = ssl.SSLContext(protocol)
    context.minimum_version = ssl.TLSVersion.TLSv1_3
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE  # of the chain; the key is checked, see above
    context.set_alpn_protocols([ALPN])
    return context


def _load(context: ssl.SSLContext, pem: bytes) -> None:
    """Give a context its certificate and key, which it takes from files only: one in memory."""
    descriptor = os.memfd_create("peer", os.MFD_CLOEXEC)
    try:
        with os.fdopen(os.dup(descriptor), "wb") as file:
            file.write(pem)
        context.load_cert_chain(f"/proc/self/fd/{descriptor}")
    finally:
        os.close(descriptor)
