"""Non-blocking sockets, compiled: poller, receiver, sender, TLS."""
