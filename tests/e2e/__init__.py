"""Whole runs: real clients, Megaphone, real servers."""
