"""Real servers for tests and `make run`: Prosody, ejabberd, Megaphone; free loopback ports, directories of their own."""
