"""Between the workers of one node: frames over Unix sockets, and which worker is whose home. Between nodes: NATS."""
