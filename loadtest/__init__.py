"""Load tests for XMPP servers: any server, from a handful of sessions to a million on one machine."""
