"""Looks into a certificate and its key before anybody connects: do they belong together, until when, for which names.

The two are tried in a TLS handshake with ourselves over memory buffers: what OpenSSL accepts there it accepts from a
client, and a client's view (chain, validity, names) is part of the standard library's public interface.
"""

import ssl
from dataclasses import dataclass
from pathlib import Path

_EXPIRED = 10  # X509_V_ERR_CERT_HAS_EXPIRED, openssl/x509_vfy.h
_NOT_YET_VALID = 9  # X509_V_ERR_CERT_NOT_YET_VALID
_STEPS_LIMIT = 10  # a handshake takes two


@dataclass(frozen=True, slots=True)
class CertificateFacts:
    """What is worth saying about a usable certificate: `problem` for people ("" if none), its end and its names."""

    problem: str
    expires_unix_seconds: float | None
    names: tuple[str, ...]  # in DNS form, with wildcards

    def covers(self, domain: str) -> bool:
        """Whether the certificate is for `domain`, given in DNS form (RFC 6125 section 6.4.3)."""
        return domain in self.names or f"*.{domain.partition('.')[2]}" in self.names


class CertificateProblem(Exception):  # noqa: N818 - a finding about a file
    """Why the files cannot be used; `field` is "chain" or "key"."""

    def __init__(self, field: str, reason: str) -> None:
        super().__init__(field, reason)
        self.field = field
        self.reason = reason


def look_into(chain: str, key: str) -> CertificateFacts:
    """Return the facts of the certificate at `chain` with the private key at `key`; CertificateProblem if unusable."""
    chain_text = _read(chain, "chain", "-----BEGIN CERTIFICATE-----", "a certificate")
    key_text = _read(key, "key", "PRIVATE KEY-----", "a private key")
    if "ENCRYPTED" in key_text:
        raise CertificateProblem("key", f"{key}: is encrypted, and nobody is there to type its password")
    server = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    try:
        server.load_cert_chain(chain, key, password=lambda: "")
    except ssl.SSLError as error:
        if error.reason == "KEY_VALUES_MISMATCH":
            raise CertificateProblem("key", f"{key}: is not the key of the certificate in {chain}") from None
        raise CertificateProblem("chain", f"{chain} with {key}: {_in_words(error)}") from None
    leaf = chain_text[chain_text.index("-----BEGIN CERTIFICATE-----") :]
    return _facts(server, leaf[: leaf.index("-----END CERTIFICATE-----")] + "-----END CERTIFICATE-----\n")


def _read(path: str, field: str, marker: str, what: str) -> str:
    try:
        text = Path(path).read_text("ascii", "replace")
    except OSError as error:
        raise CertificateProblem(field, f"{path}: cannot be read: {error.strerror}") from None
    if marker not in text or "-----END " not in text:
        raise CertificateProblem(field, f"{path}: holds no {what.removeprefix('a ')} in PEM form")
    return text


def _in_words(error: ssl.SSLError) -> str:
    return (error.reason or "OpenSSL refuses it").replace("_", " ").lower()


def _facts(server: ssl.SSLContext, leaf: str) -> CertificateFacts:
    """Shake hands with ourselves, as a client that trusts exactly this certificate."""
    client = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    client.check_hostname = False
    client.verify_flags = ssl.VERIFY_X509_PARTIAL_CHAIN
    client.load_verify_locations(cadata=leaf)
    to_server, to_client = ssl.MemoryBIO(), ssl.MemoryBIO()
    ends = [client.wrap_bio(to_client, to_server), server.wrap_bio(to_server, to_client, server_side=True)]
    for step in range(_STEPS_LIMIT):
        try:
            ends[step % 2].do_handshake()
            if step % 2 == 0:
                break
        except ssl.SSLWantReadError:
            continue
        except ssl.SSLCertVerificationError as error:
            problem = {_EXPIRED: "has expired", _NOT_YET_VALID: "is not valid yet"}.get(error.verify_code)
            return CertificateFacts(problem or f"clients will refuse it: {error.verify_message}", None, ())
        except ssl.SSLError as error:
            raise CertificateProblem("chain", f"cannot be used for a TLS handshake: {_in_words(error)}") from None
    found = ends[0].getpeercert() or {}
    names = found.get("subjectAltName", ())
    return CertificateFacts(
        "",
        float(ssl.cert_time_to_seconds(str(found["notAfter"]))),
        tuple(str(pair[1]).lower() for pair in names if isinstance(pair, tuple) and pair[0] == "DNS"),
    )
