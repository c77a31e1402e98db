"""Persisted history, no I/O: what is said in a room, kept by every replica, in the same order everywhere."""
