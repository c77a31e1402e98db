"""Types of the compiled direct carrier."""

from collections.abc import Callable
from typing import Any

from megaphone.sockets.poller import Poller
from megaphone.uplink.uplink import Carrier

def stream_bytes() -> int: ...

class DirectCarrier(Carrier):
    """Opens an upstream socket for each stream."""

    def __init__(self, poller: Poller, proxy_header: Callable[[Any], bytes], limits: Any) -> None: ...
