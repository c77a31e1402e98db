"""Peers on a LAN, with no server: they find each other by mDNS, know each other by key, and replicate rooms over TLS."""
