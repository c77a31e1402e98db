"""`python -m loadtest PROFILE --host xmpp://…`: one test from the command line; everything else is Locust's."""

import sys
from pathlib import Path

from loadtest.profiles import ProfileError, load, names

LOCUSTFILE = Path(__file__).with_name("locustfile.py")
USAGE = """\
usage: python -m loadtest PROFILE --host xmpp://HOST[:PORT] [-u USERS] [--processes N] [any option of Locust]
       python -m loadtest --web [any option of Locust]      the same with Locust's web page, where all is chosen
       python -m loadtest --worker --master-host HOST       a worker for one of these with --master

Profiles (or a file of your own: ./mine.toml):
"""


def main() -> None:
    """Run Locust with our locustfile; exit code 0: passed, 1: not passed, 2: bad usage."""
    arguments = sys.argv[1:]
    if not arguments or arguments[0] in ("-h", "--help", "--list"):
        print(USAGE, *(f"  {name:<16} {load(name).summary}" for name in names()), sep="\n")
        sys.exit(0 if arguments else 2)
    if arguments[0] == "--web":
        options = arguments[1:]
    elif arguments[0] == "--worker":
        options = arguments
    elif arguments[0].startswith("-"):
        print(f"the profile comes first, not {arguments[0]}\n\n{USAGE}", file=sys.stderr)
        sys.exit(2)
    else:
        try:
            load(arguments[0])
        except ProfileError as error:
            print(error, file=sys.stderr)
            sys.exit(2)
        options = ["--headless", "--only-summary", "--profile", *arguments]
    sys.argv = ["locust", "-f", str(LOCUSTFILE), *options]
    from locust.main import main as locust  # it patches Python's sockets, which nothing above needs

    locust()


if __name__ == "__main__":
    main()
