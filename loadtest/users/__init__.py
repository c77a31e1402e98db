"""Locust's Users: one that owns a flock of sessions, and one that is a single session."""
