"""Pictures of the dashboard with nobody there, under load and draining: `python -m tests.pictures.dashboard DIRECTORY`.

Each on a desktop and on a phone, light and dark. `SESSIONS` of the environment (5000) says how many people chat.
"""

import base64
import contextlib
import os
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

from tests.servers.certificates import CertificateAuthority
from tests.servers.chromium import Chromium
from tests.servers.embedded import Embedded
from tests.servers.model import DOMAIN
from tests.servers.process import LOOPBACK

SESSIONS = int(os.environ.get("SESSIONS", "5000"))
USERS = 5
TOKEN = "a-token-for-pictures-only"
SIZES = {"desktop": (1280, 1000), "phone": (390, 844)}
DRAINED_PER_SECOND = max(1, SESSIONS // 50)


def photographs(browser: Chromium, url: str, directory: Path, name: str, *, looks: int = 3) -> None:
    """The whole page in each size and colour, after some looks at the numbers."""
    browser.call("Emulation.setScrollbarsHidden", hidden=True)
    for size, (width, height) in SIZES.items():
        is_phone = size == "phone"
        browser.call(
            "Emulation.setDeviceMetricsOverride", width=width, height=height, deviceScaleFactor=1, mobile=is_phone
        )
        for colour in ("light", "dark"):
            media = [{"name": "prefers-color-scheme", "value": colour}]
            browser.call("Emulation.setEmulatedMedia", features=media)
            browser.open(url)
            unlock(browser)
            browser.wait(f"document.body.dataset.looks >= {looks}")
            whole = browser.call("Page.captureScreenshot", format="png", captureBeyondViewport=True, clip=page(browser))
            (directory / f"dashboard-{name}-{size}-{colour}.png").write_bytes(base64.b64decode(whole["data"]))


def page(browser: Chromium) -> dict[str, float]:
    """The place of the whole page."""
    size = browser.call("Page.getLayoutMetrics")["cssContentSize"]
    return {"x": 0, "y": 0, "width": size["width"], "height": min(size["height"], 4000), "scale": 1}


def unlock(browser: Chromium) -> None:
    """Show the token."""
    browser.wait("document.querySelector('#unlock') && !document.querySelector('#unlock').hidden")
    browser.run(f"document.querySelector('#token').value = '{TOKEN}'")
    browser.run("document.querySelector('#unlock').requestSubmit()")
    browser.wait("!!document.querySelector('#connections tbody')")


@contextlib.contextmanager
def load(node: Embedded, directory: Path) -> Iterator[None]:
    """People who chat with each other."""
    log = (directory / "load.log").open("w")
    running = subprocess.Popen(
        [
            *(sys.executable, "-m", "loadtest", "chat", "--host", f"xmpp://{node.plain.host}:{node.plain.port}"),
            *("--domain", DOMAIN, "--security", "plain", "-u", str(USERS), "--processes", "1"),
            *("--set", f"per_user={SESSIONS // USERS} hold_seconds=600"),
        ],
        stdout=log,
        stderr=log,
    )
    try:
        deadline = time.monotonic() + 180
        while node.metric("megaphone_connections", state="authenticated") < SESSIONS:
            assert time.monotonic() < deadline, (directory / "load.log").read_text()[-2000:]
            time.sleep(1)
        yield
    finally:
        running.terminate()
        running.wait()


def main(directory: Path) -> None:
    """Make all pictures."""
    directory.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix="megaphone-") as made:
        work = Path(made)
        (work / "token").touch(0o600)
        (work / "token").write_text(TOKEN)
        node = Embedded(work / "node", CertificateAuthority(work))
        node.tables["admin"]["token_file"] = str(work / "token")
        node.tables["drain"] = {"connections_per_second": DRAINED_PER_SECOND, "deadline_seconds": 120.0}
        node.register()
        browser = Chromium(work)
        url = f"http://{LOOPBACK}:{node.admin_port}/"
        try:
            node.start()
            browser.start()
            photographs(browser, url, directory, "0")
            with load(node, work):
                photographs(browser, url, directory, str(SESSIONS), looks=6)
                node.process.signal(signal.SIGTERM)
                browser.wait("document.querySelector('#phase').textContent === 'draining'")
                photographs(browser, url, directory, "draining")
        finally:
            browser.stop()
            node.stop()


if __name__ == "__main__":
    main(Path(sys.argv[1]))
