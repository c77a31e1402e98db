"""Locust's own web page, filled in and watched with a real browser, against the embedded service.

`LOADTEST_PAGE_SESSIONS=5000 LOADTEST_PAGE_PICTURES=directory` makes the pictures of the documentation.
"""

import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.servers.certificates import CertificateAuthority
from tests.servers.chromium import Chromium, browsing
from tests.servers.embedded import Embedded
from tests.servers.locust import page
from tests.servers.model import DOMAIN

SESSIONS = int(os.environ.get("LOADTEST_PAGE_SESSIONS", "1000"))
PICTURES = os.environ.get("LOADTEST_PAGE_PICTURES")
USERS = 5
SECONDS = 60.0
SETTINGS = "hold_seconds=12 chat_seconds=10 message_p99_ms=10000 rate_percent=50"  # other tests run beside


@pytest.fixture
def browser(tmp_path: Path) -> Iterator[Chromium]:
    """A browser on an empty page."""
    with browsing(tmp_path) as started:
        yield started


def unfold(browser: Chromium, title: str, field: str) -> None:
    """Open a part of the form."""
    browser.run(
        f"[...document.querySelectorAll('.MuiAccordionSummary-root')].find(e => e.innerText == '{title}').click()"
    )
    browser.wait(f"document.querySelector('input[name={field}]').getBoundingClientRect().height > 0")


def turn_to(browser: Chromium, tab: str) -> None:
    browser.wait(f"[...document.querySelectorAll('[role=tab]')].some(e => e.textContent == '{tab}')")
    browser.run(f"[...document.querySelectorAll('[role=tab]')].find(e => e.textContent == '{tab}').click()")


def cell(name: str) -> str:
    """JavaScript for the text of the cell right of the one that says `name`; empty if there is none."""
    return f"([...document.querySelectorAll('td')].find(e => e.innerText == '{name}')?.nextSibling.innerText ?? '')"


def photograph(browser: Chromium, name: str) -> None:
    if PICTURES:
        browser.photograph(Path(PICTURES) / f"loadtest-{name}.png")


def test_a_test_is_filled_in_started_watched_and_judged(
    embedded: Embedded, authority: CertificateAuthority, browser: Chromium, tmp_path: Path
) -> None:
    with page(tmp_path, "--domain", DOMAIN, "--ca", str(authority.certificate)) as url:
        browser.open(url)
        browser.wait("!!document.querySelector('form')")
        browser.fill("input[name=userCount]", str(USERS))
        browser.fill("input[name=spawnRate]", str(USERS))
        browser.fill("input[name=host]", f"xmpp://{embedded.starttls.host}:{embedded.starttls.port}")
        unfold(browser, "Advanced options", "profile")
        browser.fill("input[name=profile]", "chta")
        browser.click("button[type=submit]")
        complaint = browser.wait("document.querySelector('[role=alert]')?.innerText")
        assert "there is no profile 'chta'; did you mean chat?" in complaint

        browser.fill("input[name=profile]", "chat")
        browser.click("[role=option]")
        unfold(browser, "Custom parameters", "overrides")
        browser.fill("input[name=overrides]", f"per_user={SESSIONS // USERS} {SETTINGS}")
        browser.click("button[type=submit]")

        turn_to(browser, "Sessions")
        browser.wait(f"{cell('sessions live')} == '{SESSIONS:,}'", SECONDS)
        assert browser.run(cell("sessions wanted")) == f"{SESSIONS:,}"
        assert browser.run(cell("logins")) == f"{SESSIONS:,}"
        browser.wait(f"parseInt({cell('messages delivered')}.replace(',', '')) >= {SESSIONS // 10}", SECONDS)
        photograph(browser, "sessions")
        turn_to(browser, "Statistics")
        browser.wait("[...document.querySelectorAll('td')].some(e => e.innerText == 'one to one')")
        turn_to(browser, "Verdict")
        browser.wait(f"{cell('failures of any reason')} != ''", SECONDS)
        photograph(browser, "verdict")
        verdicts = browser.run("[...document.querySelectorAll('tbody tr')].map(e => e.lastChild.innerText)")
        assert len(verdicts) == 7
        assert set(verdicts) == {"pass"}, browser.run("document.body.innerText")
        assert browser.run(cell("sessions live at the end")) == ">= 100 %"
