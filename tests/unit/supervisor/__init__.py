"""Tests of megaphone.supervisor."""
