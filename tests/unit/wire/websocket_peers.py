"""What wsproto and websockets make of a client's frames, in the words of the reader."""

from dataclasses import dataclass, field

from websockets.frames import Opcode
from websockets.protocol import OPEN
from websockets.server import ServerProtocol
from wsproto.frame_protocol import FrameProtocol, ParseFailed
from wsproto.frame_protocol import Opcode as WsprotoOpcode


@dataclass(slots=True)
class Heard:
    """Whole messages and control frames in order, then the status code with which the peer refuses."""

    said: list[tuple[str, bytes]] = field(default_factory=list)
    code: int | None = None  # of the client's close frame
    refused: int | None = None


def ask_wsproto(data: bytes) -> Heard:
    """The server side of wsproto, without extensions."""
    heard = Heard()
    peer = FrameProtocol(client=False, extensions=[])
    peer.receive_bytes(data)
    message = b""
    try:
        for frame in peer.received_frames():
            if frame.opcode is WsprotoOpcode.CLOSE:
                heard.code, reason = frame.payload
                heard.said.append(("close", reason.encode()))
            elif frame.opcode.iscontrol():
                heard.said.append((frame.opcode.name.lower(), bytes(frame.payload)))
            else:
                message += frame.payload.encode() if isinstance(frame.payload, str) else frame.payload
                if frame.message_finished:
                    heard.said.append((frame.opcode.name.lower(), message))
                    message = b""
    except ParseFailed as error:
        heard.refused = int(error.code)
    return heard


def ask_websockets(data: bytes) -> Heard:
    """The server side of websockets' protocol; its callers decode text, at the end of a message."""
    heard = Heard()
    peer = ServerProtocol(state=OPEN, max_size=None)
    peer.receive_data(data)
    kind, message = "", b""
    for frame in peer.events_received():
        if frame.opcode is Opcode.CLOSE:
            assert peer.close_rcvd is not None
            heard.code = int(peer.close_rcvd.code)
            heard.said.append(("close", peer.close_rcvd.reason.encode()))
        elif frame.opcode in (Opcode.PING, Opcode.PONG):
            heard.said.append((frame.opcode.name.lower(), bytes(frame.data)))
        else:
            kind = kind if frame.opcode is Opcode.CONT else frame.opcode.name.lower()
            message += frame.data
            if frame.fin:
                if kind == "text":
                    try:
                        message.decode()
                    except UnicodeDecodeError:
                        heard.refused = 1007
                        return heard
                heard.said.append((kind, message))
                message = b""
    if peer.parser_exc is not None:
        assert peer.close_sent is not None
        heard.refused = int(peer.close_sent.code)
    return heard


PEERS = {"wsproto": ask_wsproto, "websockets": ask_websockets}
