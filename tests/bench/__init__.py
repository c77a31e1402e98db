"""Benchmarks of Megaphone beside its peers: `make bench WHAT=relay` and `make bench WHAT=tls`."""
