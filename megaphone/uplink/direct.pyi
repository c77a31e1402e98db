"""Types of the compiled direct carrier."""

from collections.abc import Callable
from typing import Any

from megaphone.dispatch.dispatcher import Connection, Owner
from megaphone.sockets.poller import Poller
from megaphone.uplink.uplink import Carrier, Uplink

def restore_stream(uplink: Uplink, connection: Connection, data: bytes, descriptors: list[int]) -> Owner: ...
def stream_bytes() -> int: ...

class DirectCarrier(Carrier):
    """Opens an upstream socket for each stream."""

    def __init__(self, poller: Poller, proxy_header: Callable[[Any], bytes], limits: Any) -> None: ...
