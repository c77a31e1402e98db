"""Tests of megaphone.cli."""
