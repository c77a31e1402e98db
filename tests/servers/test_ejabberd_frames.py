"""The Erlang codec of ejabberd_megaphone against the golden frames and the reference codec, without an ejabberd."""

import subprocess
from pathlib import Path

import pytest

from tests.link.frames import Frame, Hello, Open, Shutdown, Type, raw
from tests.link.malformed import HELLO, MALFORMED, OPEN
from tests.servers.ejabberd_link import compiled_module
from tests.unit.wire.link_golden import INDEX, golden, speeches

SCRIPT = Path(__file__).with_name("ejabberd_frames.escript")
TIMEOUT_SECONDS = 60.0


@pytest.fixture(scope="module")
def ebin() -> Path:
    """The compiled module."""
    return compiled_module()


def told(ebin: Path, mode: str, lines: list[str]) -> list[str]:
    """What the codec says of each line."""
    done = subprocess.run(
        ["escript", str(SCRIPT), str(ebin), mode],
        input="".join(line + "\n" for line in lines),
        capture_output=True,
        text=True,
        check=True,
        timeout=TIMEOUT_SECONDS,
    )
    return done.stdout.splitlines()


def words(name: str, *fields: int | str | bytes) -> str:
    """Fields as the script prints them."""
    return " ".join([name, *("x" + field.hex() if isinstance(field, bytes) else str(field) for field in fields)])


TRANSPORTS = {1: "tcp", 2: "tls", 3: "starttls", 4: "websocket", 5: "websocket_tls"}


def expected(data: bytes) -> str:
    """What the codec should say of an allowed frame of an edge, by the reference codec."""
    kind, identifier, payload = Type(data[0]), int.from_bytes(data[4:8]), data[8:]
    match kind:
        case Type.HELLO:
            hello = Hello.decode(payload)
            return words(
                kind.name, 0, hello.features, hello.session, hello.epoch, hello.received, hello.window,
                hello.name.encode(), hello.proof,
            )  # fmt: skip
        case Type.OPEN:
            opened = Open.decode(payload)
            fields = dict(opened.fields)
            return words(
                kind.name, identifier, TRANSPORTS[opened.transport], opened.client[1], opened.local[1],
                opened.tls_version, *(fields.get(number, "-") for number in range(1, 8)),
            )  # fmt: skip
        case Type.PING | Type.PONG:
            return words(kind.name, 0, payload[:8], int.from_bytes(payload[8:]))
        case Type.ACK | Type.GET_DATA:
            return words(kind.name, identifier, int.from_bytes(payload))
        case Type.PUT_DATA:
            return words(kind.name, identifier, payload)
        case Type.SHUTDOWN:
            end = Shutdown.decode(payload)
            return words(kind.name, identifier, end.sent, end.reason, end.text.encode())
        case _:
            return words(kind.name, identifier)


def frames_of(side: str) -> list[str]:
    """The golden frames that this side may say."""
    server_only, edge_only = {"CHALLENGE", "WELCOME", "SEND_DATA"}, {"HELLO", "OPEN", "PUT_DATA"}
    others = edge_only if side == "server" else server_only
    return [entry["file"] for entry in INDEX["frame"] if entry["type"] not in others]


def data_of(file: str) -> bytes:
    (speech,) = speeches(file)
    return speech.data


def test_golden_frames_are_read(ebin: Path) -> None:
    frames = [data_of(file) for file in frames_of("edge")]
    assert len(frames) > 10
    assert told(ebin, "read", [data.hex() for data in frames]) == [expected(data) for data in frames]


def test_golden_frames_are_made(ebin: Path) -> None:
    frames = [data_of(file).hex() for file in frames_of("server")]
    assert len(frames) > 10
    assert told(ebin, "make", frames) == frames


def test_golden_proofs(ebin: Path) -> None:
    payloads = [golden(name)[8:] for name in ("challenge", "hello", "welcome")]
    proofs = f"{payloads[1][-32:].hex()} {payloads[2][-32:].hex()}"
    assert told(ebin, "prove", [" ".join(payload.hex() for payload in payloads)]) == [proofs]


def test_golden_refusals(ebin: Path) -> None:
    entries = [entry for entry in INDEX["refused"] if entry["side"] == "edge"]
    assert len(entries) > 10
    lines = told(ebin, "read", [data_of(entry["file"]).ljust(8, b"\0").hex() for entry in entries])
    for entry, line in zip(entries, lines, strict=True):
        assert line.startswith(f"refused {entry['reason']}: "), (entry, line)
        assert entry["text"] in line


REFUSED = MALFORMED | {
    "version": raw(Type.HELLO, 0, HELLO.encode()[:4] + b"\x02" + HELLO.encode()[5:]),
    "epoch 0": raw(Type.HELLO, 0, Hello(b"n" * 16, b"s" * 16, epoch=0, proof=b"p" * 32).encode()),
    "unknown field twice": raw(Type.OPEN, 1, OPEN + b"\xee\x00\x00\xee\x00\x00"),
}


def test_malformed_payloads_are_refused(ebin: Path) -> None:
    lines = told(ebin, "read", [data.hex() for data in REFUSED.values()])
    for (name, data), line in zip(REFUSED.items(), lines, strict=True):
        reason = "unsupported-version" if name == "version" else "protocol-error"
        assert line.startswith(f"refused {reason}: "), (name, line)
        assert reason != "protocol-error" or Type(data[0]).name in line, (name, line)


def test_long_text_is_cut_between_characters(ebin: Path) -> None:
    program = (
        "F = ejabberd_megaphone_frame:shutdown(0, 0, 'protocol-error', lists:duplicate(200, 233)), "
        "io:put_chars(binary:encode_hex(F)), halt()."
    )
    done = subprocess.run(
        ["erl", "-noshell", "-pa", str(ebin), "-eval", program],
        capture_output=True,
        check=True,
        timeout=TIMEOUT_SECONDS,
    )
    assert bytes.fromhex(done.stdout.decode()) == Frame(Type.SHUTDOWN, 0, Shutdown(0, 16, "é" * 127).encode()).encode()
