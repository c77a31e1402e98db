"""`python -m megaphone` is the `megaphone` command."""

from megaphone.cli.main import main

raise SystemExit(main())
