"""One XMPP stream as a state machine. No I/O."""
