"""What this machine's kernel allows, beside what a number of connections needs. Reads and compares, never sets."""
