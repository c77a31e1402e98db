"""Bytes: framer, header reader, writer, PROXY protocol. No I/O."""
