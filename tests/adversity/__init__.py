"""Adversity: processes killed under load, and every kind of bad input with the exact answer it gets."""
