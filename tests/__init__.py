"""Tests: unit by package, and whole runs against real XMPP servers."""
