"""One worker process (asyncio on uvloop): the only place that wires edge, dispatcher and uplink together."""
