"""Types of the compiled record of a stream."""

from collections.abc import Mapping

from megaphone.embedded.stream import EmbeddedStream, Streams
from megaphone.service.authenticator import Authenticator

def export_stream(stream: EmbeddedStream) -> bytes | None: ...
def new_stream(streams: Streams, connection_id: int) -> EmbeddedStream: ...
def restore_stream(stream: EmbeddedStream, data: bytes, authenticators: Mapping[str, Authenticator]) -> None: ...
