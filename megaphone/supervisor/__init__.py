"""Processes (trio): starts workers, keeps their listening sockets, restarts them, answers operators."""
