"""Server sockets: choice, health, fail-over."""
