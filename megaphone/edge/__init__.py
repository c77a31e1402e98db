"""Client sockets: accept, limits, STARTTLS, stream errors."""
