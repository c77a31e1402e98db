"""A supervisor with stand-in workers; argv: BEHAVIOUR MODE DIRECTORY, then `start`, `check FD` or `resume FD`.

MODE is that of its stand-in workers. Behaviours:
  good          does what it should
  newer         the same, and says that it is version 9.9
  cannot-read   does not understand the state
  broken        cannot even be loaded
  talks         says something else than what it is
  lies          says that it can go on, and cannot
  vanishes      says that it can go on, and removes its own interpreter
  slow          takes its time to go on: until DIRECTORY/go exists
"""

import os
import sys
import time
from pathlib import Path

from megaphone.config import load
from megaphone.supervisor import node, notify, resume
from megaphone.supervisor.node import Node
from megaphone.supervisor.program import Program
from megaphone.supervisor.serve import serve
from tests.unit.supervisor.node_under_test import role, the_program


def start(program: Program, directory: Path, mode: str) -> int:
    path = directory / "megaphone.toml"
    text = path.read_text()
    serve(
        Node(
            load.parse(text, str(path)),
            config_text=text,
            config_path=str(path),
            notifier=notify.from_environment(),
            role=role(directory, mode),
            program=program,
        )
    )
    return 0


def main() -> int:
    behaviour, mode, name, action, *rest = sys.argv[1:]
    directory = Path(name)
    program = the_program(behaviour, mode, directory)
    if behaviour == "broken":
        raise ImportError("a compiled module is missing")
    if action == "start":
        return start(program, directory, mode)
    resume.running = node.running = lambda: program
    if behaviour == "cannot-read":
        print("megaphone: error: this program reads no states", file=sys.stderr)
        return 1
    if behaviour == "talks" and action == "check":
        print("hello")
        return 0
    if behaviour == "lies" and action == "resume":
        resume.Node.resume = lambda *_: 1 / 0
    while behaviour == "slow" and action == "resume" and not (directory / "go").exists():
        time.sleep(0.01)
    (directory / "environment").write_text("\n".join(f"{key}={value}" for key, value in sorted(os.environ.items())))
    code = resume.main([action, *rest], {"edge": role(directory, mode)})
    if behaviour == "vanishes" and action == "check":
        Path(program.command[0]).unlink()
    return code


if __name__ == "__main__":
    sys.exit(main())
