"""A headless Chromium, driven over its DevTools protocol: opens a page, runs JavaScript in it, photographs it."""

import base64
import json
import os
import shutil
import time
import urllib.request
from contextlib import ExitStack
from pathlib import Path
from typing import Any

from websockets.sync.client import ClientConnection, connect

from tests.servers.process import LOOPBACK, Process, ServerError, free_port

PROGRAMS = ("chromium-headless-shell", "chromium")
MESSAGE_LIMIT_BYTES = 16_000_000
ANSWER_SECONDS = 30.0
POLL_SECONDS = 0.1


class Chromium:
    """One browser with one page."""

    def __init__(self, directory: Path, *, width: int = 1280, height: int = 900) -> None:
        program = next(filter(None, map(shutil.which, PROGRAMS)), None)
        if program is None:
            raise ServerError("chromium-headless-shell is not installed")
        port = free_port()
        self._process = Process(
            [
                program,
                "--headless",
                "--no-sandbox",  # which root does not get; it sees our own page only
                "--disable-gpu",
                "--disable-dev-shm-usage",
                f"--window-size={width},{height}",
                f"--remote-debugging-port={port}",
                f"--user-data-dir={directory / 'profile'}",
                "about:blank",
            ],
            directory=directory,
            log=directory / "chromium.log",
            environment={**os.environ, "HOME": str(directory)},
        )
        self._pages = f"http://{LOOPBACK}:{port}/json"
        self._connection: ClientConnection | None = None
        self._open = ExitStack()
        self._number = 0

    def start(self) -> None:
        """Return when it can be driven."""
        self._process.wait_until(lambda: self._page() is not None, "Chromium", 30.0)
        page = self._page()
        assert page is not None
        self._connection = self._open.enter_context(connect(page, max_size=MESSAGE_LIMIT_BYTES, compression=None))
        self.call("Page.enable")

    def _page(self) -> str | None:
        try:
            with urllib.request.urlopen(self._pages, timeout=5) as answer:
                found = [each for each in json.load(answer) if each["type"] == "page"]
        except (OSError, ValueError):
            return None
        return str(found[0]["webSocketDebuggerUrl"]) if found else None

    def call(self, method: str, **parameters: Any) -> dict[str, Any]:
        """Send a command of the protocol and return its result; events that come meanwhile are dropped."""
        assert self._connection is not None
        self._number += 1
        self._connection.send(json.dumps({"id": self._number, "method": method, "params": parameters}))
        deadline = time.monotonic() + ANSWER_SECONDS
        while True:
            answer = json.loads(self._connection.recv(timeout=deadline - time.monotonic()))
            if answer.get("id") == self._number:
                if "error" in answer:
                    raise ServerError(f"{method}: {answer['error']}")
                return dict(answer["result"])

    def open(self, url: str) -> None:
        """Go to a page."""
        self.call("Page.navigate", url=url)

    def run(self, script: str) -> Any:
        """The value of an expression of JavaScript in the page."""
        result = self.call("Runtime.evaluate", expression=script, returnByValue=True, awaitPromise=True)
        if "exceptionDetails" in result:
            raise ServerError(f"{script}: {result['exceptionDetails']}")
        return result["result"].get("value")

    def wait(self, script: str, timeout_seconds: float = 30.0) -> Any:
        """The first value of the expression that is true; ServerError with the page's text if there is none in time."""
        deadline = time.monotonic() + timeout_seconds
        while not (value := self.run(script)):
            if time.monotonic() > deadline:
                raise ServerError(f"{script}: not within {timeout_seconds:g} s\n{self.run('document.body.innerText')}")
            time.sleep(POLL_SECONDS)
        return value

    def click(self, selector: str) -> None:
        """A real click in the middle of the first element that matches, once that is there and moves no more."""
        element = f"document.querySelector({json.dumps(selector)})"
        self.wait(f"!!{element}")
        place = (
            f"(e => {{ e.scrollIntoView({{block: 'center', behavior: 'instant'}}); const b = e.getBoundingClientRect();"
            f" return b.width && b.height ? [b.x + b.width / 2, b.y + b.height / 2] : null; }})({element})"
        )
        box, before = self.wait(place), None
        while box != before:
            time.sleep(POLL_SECONDS)
            before, box = box, self.wait(place)
        for kind in ("mousePressed", "mouseReleased"):
            self.call("Input.dispatchMouseEvent", type=kind, x=box[0], y=box[1], button="left", clickCount=1)

    def fill(self, selector: str, text: str) -> None:
        """Type a text into a field, in place of what is there."""
        self.click(selector)
        self.run(f"document.querySelector({json.dumps(selector)}).select()")
        self.call("Input.insertText", text=text)

    def photograph(self, path: Path) -> None:
        """Write what the window shows as PNG."""
        path.write_bytes(base64.b64decode(self.call("Page.captureScreenshot", format="png")["data"]))

    def stop(self) -> None:
        """End it."""
        self._open.close()
        self._process.stop()
