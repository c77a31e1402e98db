"""`python -m loadtest.million`: exit code 0 when every figure is met, 1 when something is missed, 2 for wrong usage."""

import json
import sys

from loadtest.million import growth, picture, run
from loadtest.million.arguments import parser, plan_of
from loadtest.million.settings import SettingsError, restore


def main(words: list[str]) -> int:
    """Do what the words ask for."""
    options = parser().parse_args(words)
    if options.restore:
        try:
            print("put back" if restore(print, options.journal) else "nothing to put back")
        except SettingsError as error:
            print(error, file=sys.stderr)
            return run.MISSED
        return run.MET
    if options.pictures:
        report = json.loads(options.pictures.read_text())
        for path in picture.write(report, options.output or options.pictures.parent):
            print(path)
        return run.MET
    if options.growth:
        return growth.run(options)
    plan = plan_of(options, words)
    return run.check(plan) if options.check else run.run(plan, options.journal)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
