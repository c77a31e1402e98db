"""A headless Chromium, driven over its DevTools protocol: opens pages, runs JavaScript in them, photographs them."""

import base64
import json
import os
import shutil
import time
import urllib.request
from collections import deque
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

from websockets.sync.client import ClientConnection, connect

from tests.servers.process import LOOPBACK, Process, ServerError, free_port

PROGRAMS = ("chromium-headless-shell", "chromium")
MESSAGE_LIMIT_BYTES = 16_000_000
EVENTS_LIMIT = 10_000
ANSWER_SECONDS = 30.0
POLL_SECONDS = 0.1


class Connection:
    """One connection of the protocol, to a browser or a page."""

    def __init__(self) -> None:
        self.events: deque[dict[str, Any]] = deque(maxlen=EVENTS_LIMIT)
        """What the browser tells without being asked, of the domains of the protocol that were enabled."""
        self._connection: ClientConnection | None = None
        self._open = ExitStack()
        self._number = 0

    def attach(self, address: str) -> None:
        """Connect to this WebSocket address of DevTools."""
        self._connection = self._open.enter_context(connect(address, max_size=MESSAGE_LIMIT_BYTES, compression=None))

    def detach(self) -> None:
        """End the connection, nothing else."""
        self._open.close()

    def call(self, method: str, **parameters: Any) -> dict[str, Any]:
        """Send a command of the protocol and return its result; events that come meanwhile are kept."""
        assert self._connection is not None
        self._number += 1
        self._connection.send(json.dumps({"id": self._number, "method": method, "params": parameters}))
        deadline = time.monotonic() + ANSWER_SECONDS
        while True:
            answer = json.loads(self._connection.recv(timeout=deadline - time.monotonic()))
            if "method" in answer:
                self.events.append(answer)
            elif answer.get("id") == self._number:
                if "error" in answer:
                    raise ServerError(f"{method}: {answer['error']}")
                return dict(answer["result"])


class Page(Connection):
    """One page of a browser."""

    def attach(self, address: str) -> None:
        """Drive the page that DevTools has at this WebSocket address."""
        super().attach(address)
        self.call("Page.enable")

    def requests(self) -> list[str]:
        """The addresses of what it has asked for, WebSockets too, since `Network.enable` was called."""
        self.run("0")  # what has happened until now is told before this answer
        return [
            each["params"]["request"]["url"] if "request" in each["params"] else each["params"]["url"]
            for each in self.events
            if each["method"] in ("Network.requestWillBeSent", "Network.webSocketCreated")
        ]

    def resize(self, width: int, height: int, *, mobile: bool = False) -> None:
        """Let the window be this large; `mobile` as a phone's browser shows it."""
        self.call("Emulation.setDeviceMetricsOverride", width=width, height=height, deviceScaleFactor=1, mobile=mobile)

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

    def close(self) -> None:
        """Close it."""
        self.call("Page.close")
        self.detach()


class Chromium(Page):
    """One browser, which is driven as its first page; `new_page` opens others."""

    def __init__(self, directory: Path, *, width: int = 1280, height: int = 900, trusting: bool = False) -> None:
        """With `trusting` any certificate will do."""
        super().__init__()
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
                *(["--ignore-certificate-errors"] if trusting else []),
                f"--window-size={width},{height}",
                f"--remote-debugging-port={port}",
                f"--user-data-dir={directory / 'profile'}",
                "about:blank",
            ],
            directory=directory,
            log=directory / "chromium.log",
            environment={**os.environ, "HOME": str(directory)},
        )
        self._port = port

    def start(self) -> None:
        """Return when it can be driven."""
        self._process.wait_until(lambda: self._page() is not None, "Chromium", 30.0)
        page = self._page()
        assert page is not None
        self.attach(page)

    def new_page(self) -> Page:
        """Open a page that shares no storage, cookies or cache with any other, as in a browser of its own."""
        browser = Connection()
        browser.attach(self._told("version")["webSocketDebuggerUrl"])
        self._open.callback(browser.detach)
        context = browser.call("Target.createBrowserContext")["browserContextId"]
        target = browser.call("Target.createTarget", url="about:blank", browserContextId=context)["targetId"]
        page = Page()
        self._open.callback(page.detach)
        page.attach(f"ws://{LOOPBACK}:{self._port}/devtools/page/{target}")
        return page

    def page_at(self, url: str) -> Page:
        """Drive the page at this address, which another page has opened or is about to."""
        deadline = time.monotonic() + ANSWER_SECONDS
        while not (found := [each for each in self._told("list") if each["type"] == "page" and each["url"] == url]):
            if time.monotonic() > deadline:
                raise ServerError(f"no page at {url} within {ANSWER_SECONDS:g} s")
            time.sleep(POLL_SECONDS)
        page = Page()
        self._open.callback(page.detach)
        page.attach(found[0]["webSocketDebuggerUrl"])
        return page

    def _told(self, what: str) -> Any:
        with urllib.request.urlopen(f"http://{LOOPBACK}:{self._port}/json/{what}", timeout=5) as answer:
            return json.load(answer)

    def _page(self) -> str | None:
        try:
            found = [each for each in self._told("list") if each["type"] == "page"]
        except (OSError, ValueError):
            return None
        return str(found[0]["webSocketDebuggerUrl"]) if found else None

    def stop(self) -> None:
        """End it."""
        self.detach()
        self._process.stop()


@contextmanager
def browsing(directory: Path, *, trusting: bool = False) -> Iterator[Chromium]:
    """A browser on an empty page, from its start to its end."""
    browser = Chromium(directory, trusting=trusting)
    try:
        browser.start()
        yield browser
    finally:
        browser.stop()
