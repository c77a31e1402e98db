"""SCRAM's server side: the RFCs' own examples, other clients' messages, and all that must not pass."""

import base64
import hashlib
import hmac

import pytest
from hypothesis import given
from hypothesis import strategies as st

from megaphone.errors import SASLError
from megaphone.stream.scram import NONCE_LIMIT_CHARACTERS, ScramExchange, ScramKeys, derive_keys

BINDINGS = {"tls-exporter": b"exported keying material........", "tls-unique": b"first finish"}
SHA1 = derive_keys("sha1", "pencil", base64.b64decode("QSXCR+Q6sek8bf92"), 4096)
SHA256 = derive_keys("sha256", "pencil", base64.b64decode("W22ZaJ0SNY7soEsUEjb6gQ=="), 4096)
QUICK = derive_keys("sha256", "pencil", b"salt", 2)


def exchange(
    mechanism: str = "SCRAM-SHA-256", keys: ScramKeys = QUICK, *, nonce: str = "server", plus_offered: bool = False
) -> ScramExchange:
    def keys_of(username: str, authzid: str) -> ScramKeys:
        assert username == "user"
        return keys

    bindings = BINDINGS if plus_offered else {}
    return ScramExchange(mechanism, keys_of=keys_of, nonce=nonce, bindings=bindings, plus_offered=plus_offered)


def final(first: bytes, challenge: bytes, *, bound: bytes, password: str = "pencil") -> bytes:
    """Answer as a client does, by the formulas of RFC 5802 section 3 for SHA-256."""
    fields = dict(field.split(b"=", 1) for field in challenge.split(b","))
    salted = hashlib.pbkdf2_hmac("sha256", password.encode(), base64.b64decode(fields[b"s"]), int(fields[b"i"]))
    client_key = hmac.digest(salted, b"Client Key", "sha256")
    without_proof = b"c=" + base64.b64encode(bound) + b",r=" + fields[b"r"]
    bare = first.split(b",", 2)[2]
    message = b",".join((bare, challenge, without_proof))
    signature = hmac.digest(hashlib.sha256(client_key).digest(), message, "sha256")
    proof = bytes(a ^ b for a, b in zip(client_key, signature, strict=True))
    return without_proof + b",p=" + base64.b64encode(proof)


def refusal(scram: ScramExchange, first: bytes, last: bytes | None = None) -> str:
    try:
        scram.receive_first(first)
        if last is not None:
            scram.receive_final(last)
    except SASLError as error:
        return error.condition
    return "accepted"


def test_example_of_rfc_5802_section_5() -> None:
    scram = exchange("SCRAM-SHA-1", SHA1, nonce="3rfcNHYJY1ZVvWVs7j")
    assert scram.receive_first(b"n,,n=user,r=fyko+d2lbbFgONRv9qkxdawL") == (
        b"r=fyko+d2lbbFgONRv9qkxdawL3rfcNHYJY1ZVvWVs7j,s=QSXCR+Q6sek8bf92,i=4096"
    )
    assert (
        scram.receive_final(b"c=biws,r=fyko+d2lbbFgONRv9qkxdawL3rfcNHYJY1ZVvWVs7j,p=v0X8v3Bz2T0CJGbJQyF0X+HI4Ts=")
        == b"v=rmF9pqV8S7suAoZWja4dJRkFsKQ="
    )


def test_example_of_rfc_7677_section_3() -> None:
    scram = exchange("SCRAM-SHA-256", SHA256, nonce="%hvYDpWUa2RaTCAfuxFIlj)hNlF$k0")
    assert scram.receive_first(b"n,,n=user,r=rOprNGfwEbeRWgbNEkqO") == (
        b"r=rOprNGfwEbeRWgbNEkqO%hvYDpWUa2RaTCAfuxFIlj)hNlF$k0,s=W22ZaJ0SNY7soEsUEjb6gQ==,i=4096"
    )
    assert (
        scram.receive_final(
            b"c=biws,r=rOprNGfwEbeRWgbNEkqO%hvYDpWUa2RaTCAfuxFIlj)hNlF$k0,"
            b"p=dHzbZapWIk4jUhN+Ute9ytag9zjfMHgsqmmiz7AndVQ="
        )
        == b"v=6rriTRBi23WpRR/wtup+mMhUZUn/dB5nLTJRsjl95G4="
    )


@pytest.mark.parametrize("binding", list(BINDINGS))
def test_channel_binding(binding: str) -> None:
    scram = exchange("SCRAM-SHA-256-PLUS", plus_offered=True)
    first = b"p=%b,,n=user,r=client" % binding.encode()
    challenge = scram.receive_first(first)
    bound = first[: first.index(b"n=user")] + BINDINGS[binding]
    assert scram.receive_final(final(first, challenge, bound=bound)).startswith(b"v=")


@pytest.mark.parametrize(
    "bound",
    [
        b"p=tls-exporter,," + BINDINGS["tls-unique"],
        b"p=tls-unique,," + BINDINGS["tls-exporter"],
        b"p=tls-exporter,,",
        b"n,,",
        b"p=tls-exporter,a=x," + BINDINGS["tls-exporter"],
    ],
)
def test_binding_of_another_connection_is_refused(bound: bytes) -> None:
    scram = exchange("SCRAM-SHA-256-PLUS", plus_offered=True)
    first = b"p=tls-exporter,,n=user,r=client"
    challenge = scram.receive_first(first)
    with pytest.raises(SASLError, match="not-authorized: The channel binding does not match"):
        scram.receive_final(final(first, challenge, bound=bound))


def test_downgrade_is_found() -> None:
    """RFC 5802 section 6: "y" where -PLUS was offered means that somebody changed the features."""
    first = b"y,,n=user,r=client"
    assert refusal(exchange(plus_offered=True), first) == "not-authorized"
    scram = exchange(plus_offered=False)
    assert scram.receive_final(final(first, scram.receive_first(first), bound=b"y,,")).startswith(b"v=")
    # whoever turns "n" into "y" or back on the way breaks the proof
    scram = exchange(plus_offered=False)
    challenge = scram.receive_first(b"n,,n=user,r=client")
    with pytest.raises(SASLError, match="not-authorized"):
        scram.receive_final(final(first, challenge, bound=b"y,,"))


def test_a_client_without_binding_may_log_in_where_plus_is_offered() -> None:
    scram = exchange(plus_offered=True)
    first = b"n,,n=user,r=client"
    assert scram.receive_final(final(first, scram.receive_first(first), bound=b"n,,")).startswith(b"v=")


@pytest.mark.parametrize(
    ("mechanism", "first", "condition"),
    [
        ("SCRAM-SHA-256", b"p=tls-exporter,,n=user,r=c", "malformed-request"),
        ("SCRAM-SHA-256-PLUS", b"n,,n=user,r=c", "malformed-request"),
        ("SCRAM-SHA-256-PLUS", b"y,,n=user,r=c", "malformed-request"),
        ("SCRAM-SHA-256-PLUS", b"p=tls-server-end-point,,n=user,r=c", "not-authorized"),
        ("SCRAM-SHA-256-PLUS", b"p=,,n=user,r=c", "malformed-request"),
    ],
)
def test_flag_and_mechanism_must_fit(mechanism: str, first: bytes, condition: str) -> None:
    assert refusal(exchange(mechanism, plus_offered=True), first) == condition


@pytest.mark.parametrize(
    "first",
    [
        b"",
        b"n",
        b"n,,",
        b"n=user,r=c",
        b"n,,n=,r=c",
        b"n,,n=user",
        b"n,,n=user,r=",
        b"n,,r=c,n=user",
        b"n,,n=user,r=c\xc3\xa9",
        b"n,,n=user,r=c,",
        b"n,,n=user,r=c,xx",
        b"n,,n=user,r=a b",
        b"n,,m=must,n=user,r=c",
        b"n,,n=us=er,r=c",
        b"n,,n=us=2cer,r=c",
        b"n,,n=us\0er,r=c",
        b"n,,n=\xff,r=c",
        b"x,,n=user,r=c",
        b"n,a=,n=user,r=c",
        b"n,b=x,n=user,r=c",
        b"n,a==,n=user,r=c",
        b"n,,n=user,r=" + b"c" * (NONCE_LIMIT_CHARACTERS + 1),
    ],
)
def test_malformed_first_message(first: bytes) -> None:
    assert refusal(exchange(), first) == "malformed-request"


@pytest.mark.parametrize(
    ("last", "condition"),
    [
        (b"", "malformed-request"),
        (b"c=biws,r=cserver", "malformed-request"),
        (b"c=biws,p=eA==,r=cserver", "malformed-request"),
        (b"c=biws,r=cserver,p=", "malformed-request"),
        (b"c=biws,r=cserver,p=eA==", "malformed-request"),
        (b"c=biws,r=cserver,p=====", "malformed-request"),
        (b"c=biws,r=cserver,p=eA", "malformed-request"),
        (b"c=b,r=cserver,p=eA==", "malformed-request"),
        (b"c=biws,r=cserver,p=" + b"A" * 43 + b"=", "not-authorized"),
        (b"c=biws,r=c,p=" + b"A" * 43 + b"=", "not-authorized"),
        (b"c=biws,r=cserverx,p=" + b"A" * 43 + b"=", "not-authorized"),
        (b"c=eSws,r=cserver,p=" + b"A" * 43 + b"=", "not-authorized"),
        (b"c=biws,r=cserver,p=\xff", "malformed-request"),
    ],
)
def test_refused_final_message(last: bytes, condition: str) -> None:
    assert refusal(exchange(), b"n,,n=user,r=c", last) == condition


def test_wrong_password() -> None:
    scram = exchange()
    first = b"n,,n=user,r=client"
    challenge = scram.receive_first(first)
    with pytest.raises(SASLError, match=r"^not-authorized$"):
        scram.receive_final(final(first, challenge, bound=b"n,,", password="Pencil"))


def test_extensions_that_may_be_ignored_are_part_of_what_is_signed() -> None:
    scram = exchange()
    first = b"n,,n=user,r=client,x=1,y=2"
    assert scram.receive_final(final(first, scram.receive_first(first), bound=b"n,,")).startswith(b"v=")


def test_names_are_unescaped() -> None:
    seen = []

    def keys_of(username: str, authzid: str) -> ScramKeys:
        seen.append((username, authzid))
        return QUICK

    scram = ScramExchange("SCRAM-SHA-256", keys_of=keys_of, nonce="s", bindings={}, plus_offered=False)
    scram.receive_first("n,a=j=3Du=2C@x,n=j=3Du=2C\u00e9,r=c".encode())
    assert seen == [("j=u,\u00e9", "j=u,@x")]


@given(st.binary(max_size=80), st.binary(max_size=80))
def test_whatever_comes_ends_in_an_answer(first: bytes, last: bytes) -> None:
    for prefix in (b"", b"n,,n=user,r="):
        assert refusal(exchange(), prefix + first, last) in ("malformed-request", "not-authorized")


@given(st.integers(0, 10_000), st.integers(1, 255))
def test_any_changed_byte_of_the_final_message_is_refused(position: int, change: int) -> None:
    scram = exchange()
    first = b"n,,n=user,r=client"
    good = bytearray(final(first, scram.receive_first(first), bound=b"n,,"))
    good[position % (len(good) - 2)] ^= change  # not the last digit before "=": two of its bits mean nothing
    with pytest.raises(SASLError):
        scram.receive_final(bytes(good))
