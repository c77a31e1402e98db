"""Real servers for tests and `make run`: Prosody, ejabberd and Megaphone on free loopback ports."""
