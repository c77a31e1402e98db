"""SCRAM gives the messages of the examples in RFC 5802 section 5 and RFC 7677 section 3."""

import secrets

import pytest

from loadtest.users.scram import Scram, ScramError

EXAMPLES = {
    "SCRAM-SHA-1": (
        "fyko+d2lbbFgONRv9qkxdawL",
        "r=fyko+d2lbbFgONRv9qkxdawL3rfcNHYJY1ZVvWVs7j,s=QSXCR+Q6sek8bf92,i=4096",
        "c=biws,r=fyko+d2lbbFgONRv9qkxdawL3rfcNHYJY1ZVvWVs7j,p=v0X8v3Bz2T0CJGbJQyF0X+HI4Ts=",
        "v=rmF9pqV8S7suAoZWja4dJRkFsKQ=",
    ),
    "SCRAM-SHA-256": (
        "rOprNGfwEbeRWgbNEkqO",
        "r=rOprNGfwEbeRWgbNEkqO%hvYDpWUa2RaTCAfuxFIlj)hNlF$k0,s=W22ZaJ0SNY7soEsUEjb6gQ==,i=4096",
        "c=biws,r=rOprNGfwEbeRWgbNEkqO%hvYDpWUa2RaTCAfuxFIlj)hNlF$k0,p=dHzbZapWIk4jUhN+Ute9ytag9zjfMHgsqmmiz7AndVQ=",
        "v=6rriTRBi23WpRR/wtup+mMhUZUn/dB5nLTJRsjl95G4=",
    ),
}


@pytest.mark.parametrize("mechanism", EXAMPLES)
def test_the_examples_of_the_rfcs(mechanism: str, monkeypatch: pytest.MonkeyPatch) -> None:
    nonce, challenge, final, success = EXAMPLES[mechanism]
    monkeypatch.setattr(secrets, "token_hex", lambda size: nonce)
    scram = Scram(mechanism, "user", "pencil")
    assert scram.first() == f"n,,n=user,r={nonce}".encode()
    assert scram.final(challenge.encode()) == final.encode()
    scram.verify(success.encode())
    with pytest.raises(ScramError):
        scram.verify(b"v=AAAA")


@pytest.mark.parametrize(
    "challenge", [b"", b"x", b"r=other,s=QSXC,i=4096", b"s=QSXC,i=4096", b"r=\xff,s=QSXC,i=1", b"r={},s=QSXC,i=9999999"]
)
def test_a_challenge_that_is_none_is_refused(challenge: bytes, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(secrets, "token_hex", lambda size: "{}")
    with pytest.raises(ScramError):
        Scram("SCRAM-SHA-1", "user", "pencil").final(challenge)


def test_names_are_escaped(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(secrets, "token_hex", lambda size: "n")
    assert Scram("SCRAM-SHA-1", "a=b,c", "").first() == b"n,,n=a=3Db=2Cc,r=n"
