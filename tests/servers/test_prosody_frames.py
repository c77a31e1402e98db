"""The Lua codec of mod_megaphone against the golden frames and the reference codec, in plain lua5.4."""

import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.link.frames import Challenge, Frame, FrameError, Hello, Open, Shutdown, Side, Type, Welcome, raw
from tests.link.malformed import MALFORMED, OPEN
from tests.servers.prosody import MODULES
from tests.unit.wire.link_golden import INDEX, speeches

READER = Path(__file__).with_name("prosody_frames.lua")
LIBRARY = MODULES / "mod_megaphone" / "frames.lib.lua"
TIMEOUT_SECONDS = 60.0


def told(frames: list[bytes], sender: Side) -> list[str]:
    """What the Lua codec says of each frame."""
    done = subprocess.run(
        ["lua5.4", str(READER), str(LIBRARY), sender],
        input="".join(frame.hex() + "\n" for frame in frames),
        capture_output=True,
        text=True,
        check=True,
        timeout=TIMEOUT_SECONDS,
    )
    return done.stdout.splitlines()


def words(**fields: int | bytes) -> str:
    """Fields as prosody_frames.lua prints them."""
    return " ".join(
        f"{name}={'x' + value.hex() if isinstance(value, bytes) else value}" for name, value in sorted(fields.items())
    )


OPEN_NAMES = {
    1: "server_name",
    2: "alpn",
    3: "tls_exporter",
    4: "tls_unique",
    5: "cipher",
    6: "client_certificate",
    7: "server_end_point",
}


def signed(value: int) -> int:
    """Lua's integers have 64 bits and a sign."""
    return value - (1 << 64) if value >= 1 << 63 else value


def expected(data: bytes) -> str:
    """What the Lua codec should say of an allowed frame, by the reference codec."""
    kind, identifier, payload = Type(data[0]), int.from_bytes(data[4:8]), data[8:]
    start = f"{kind.name} {identifier} "
    match kind:
        case Type.HELLO:
            hello = Hello.decode(payload)
            return start + words(
                version=hello.version, features=hello.features, nonce=hello.nonce, session=hello.session,
                epoch=hello.epoch, received=signed(hello.received), window=hello.window, name=hello.name.encode(),
                proof=hello.proof,
            )  # fmt: skip
        case Type.OPEN:
            opened = Open.decode(payload)
            fields = {OPEN_NAMES[number]: value for number, value in opened.fields if number in OPEN_NAMES}
            return start + words(
                transport=opened.transport, client_address=opened.client[0], client_port=opened.client[1],
                local_address=opened.local[0], local_port=opened.local[1], tls_version=opened.tls_version, **fields,
            )  # fmt: skip
        case Type.PING | Type.PONG:
            return start + words(
                stamp=signed(int.from_bytes(payload[:8])), received=signed(int.from_bytes(payload[8:]))
            )
        case Type.ACK | Type.GET_DATA:
            return start + words(count=signed(int.from_bytes(payload)))
        case Type.PUT_DATA | Type.SEND_DATA:
            return start + words(data=payload)
        case Type.SHUTDOWN:
            end = Shutdown.decode(payload)
            return start + words(sent=signed(end.sent), reason=end.reason, text=end.text.encode(), said=data)
        case Type.CHALLENGE:
            return start + words(said=data)
        case Type.WELCOME:
            return start + words(said=Welcome.decode(payload).without_proof())
        case Type.DRAIN:
            return start


@pytest.mark.parametrize("entry", INDEX["frame"], ids=lambda entry: entry["file"])
def test_golden_frame_is_read_and_made_alike(entry: dict[str, str]) -> None:
    (speech,) = speeches(entry["file"])
    sender: Side = "edge" if entry["side"] == "edge" else "server"
    assert told([speech.data], sender) == [expected(speech.data)]


def refused_by_the_format(entry: dict[str, str]) -> bool:
    return not entry["file"].endswith("-without-stream.hex")  # those need a session


@pytest.mark.parametrize(
    "entry", [entry for entry in INDEX["refused"] if refused_by_the_format(entry)], ids=lambda entry: entry["file"]
)
def test_golden_refusal(entry: dict[str, str]) -> None:
    (speech,) = speeches(entry["file"])
    sender: Side = "edge" if entry["side"] == "edge" else "server"
    (line,) = told([speech.data[:8].ljust(8, b"\0") + speech.data[8:]], sender)
    assert line.startswith("refused ")
    assert entry["text"] in line


@pytest.mark.parametrize("name", MALFORMED)
def test_malformed_payload_is_refused(name: str) -> None:
    (line,) = told([MALFORMED[name]], "edge")
    assert line.startswith(f"refused {Type(MALFORMED[name][0]).name}")


def test_other_version_is_told_from_garbage() -> None:
    """A HELLO of version 2 is understood so far that the answer can name the versions."""
    hello = Hello(b"n" * 16, b"s" * 16, version=2, proof=b"p" * 32)
    assert told([raw(Type.HELLO, 0, hello.encode())], "edge") == ["HELLO 0 version=2"]


def test_unknown_fields_are_ignored() -> None:
    data = raw(Type.OPEN, 1, OPEN + b"\xee\x00\x01a\xee\x00\x00\x00\x00\x00")
    assert told([data], "edge") == [expected(raw(Type.OPEN, 1, OPEN))]


def test_long_text_is_cut_between_characters() -> None:
    program = f"io.write(dofile([[{LIBRARY}]]).shutdown(0, 0, 'protocol-error', ('é'):rep(200)))"
    done = subprocess.run(["lua5.4", "-e", program], capture_output=True, check=True, timeout=TIMEOUT_SECONDS)
    assert done.stdout == Frame(Type.SHUTDOWN, 0, Shutdown(0, 16, "é" * 127).encode()).encode()


DECODERS: dict[Type, Callable[[bytes], object]] = {
    Type.HELLO: Hello.decode,
    Type.OPEN: Open.decode,
    Type.SHUTDOWN: Shutdown.decode,
}


def test_reference_codec_refuses_them_too() -> None:
    for name, data in MALFORMED.items():
        if name != "link reason on a stream":  # the reference looks at that elsewhere
            with pytest.raises(FrameError):
                DECODERS[Type(data[0])](data[8:])


def test_challenge_is_the_reference_challenge() -> None:
    data = Frame(Type.CHALLENGE, 0, Challenge(b"n" * 16, b"i" * 16).encode()).encode()
    assert told([data], "server") == [expected(data)]
