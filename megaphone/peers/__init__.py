"""Peers on a LAN, with no server: found by mDNS, known by their keys; they replicate rooms over TLS."""
