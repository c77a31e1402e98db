"""`python -m megaphone.supervisor check FD` and `resume FD`: the other end of reexec.py; a supervisor starts it."""

from megaphone.supervisor.resume import main

if __name__ == "__main__":
    raise SystemExit(main())
