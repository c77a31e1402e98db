"""Ephemeral pages in windows of a real browser: publish, open, chain, gone; and what a stranger's HTML cannot reach."""

import contextlib
import json
import os
import signal
import socket
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.e2e.edges import running, with_pages
from tests.servers.certificates import CertificateAuthority
from tests.servers.chromium import Chromium, Page, browsing
from tests.servers.embedded import Embedded
from tests.servers.process import LOOPBACK, ServerError

SHOWN = "document.querySelector('#frame')?.srcdoc"
COUNT = "document.querySelector('#count')?.textContent"


@pytest.fixture(scope="module")
def node(tmp_path_factory: pytest.TempPathFactory, authority: CertificateAuthority) -> Iterator[Embedded]:
    node = Embedded(tmp_path_factory.mktemp("pages"), authority)
    with running(node, with_pages):
        yield node


@pytest.fixture(scope="module")
def chromium(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Chromium]:
    with browsing(tmp_path_factory.mktemp("chromium")) as chromium:
        yield chromium


def publish(window: Page, node: Embedded, text: str) -> str:
    """Write a page and publish it; its address."""
    window.open(f"http://{LOOPBACK}:{node.plain.port}/")
    window.wait("document.querySelector('#editor')?.hidden === false")
    window.wait("document.querySelector('#state')?.textContent === 'connected'")
    if len(text) < 1000:
        window.fill("#content", text)
    else:  # typing takes long
        window.run(f"document.querySelector('#content').value = {json.dumps(text)}; 0")
    window.click("#publish")
    window.wait(SHOWN)
    return str(window.wait("/^\\/[0-9a-f]{64}$/.test(location.pathname) && location.href"))


def test_the_life_of_a_page(chromium: Chromium, node: Embedded, tmp_path: Path) -> None:
    text = "<h1>Grüße</h1>" + "<p>Lorem ipsum 😀 dolor</p>\n" * 2000  # long enough for parts
    first = chromium.new_page()
    address = publish(first, node, text)
    second = chromium.new_page()
    second.open(address)
    second.wait(f"({SHOWN} || '').includes('Grüße')")
    for window in (first, second):
        window.wait(f"{COUNT} === '2'")
    assert first.run(SHOWN) == second.run(SHOWN)
    assert "viewing: 1." not in str(second.run("document.querySelector('#events').textContent"))
    first.close()
    second.wait(f"{COUNT} === '1'")
    third = chromium.new_page()
    third.open(address)
    third.wait(f"({SHOWN} || '').includes('Grüße')")
    third.wait(f"{COUNT} === '2'")
    # back to writing is leaving
    third.run("history.pushState({}, '', '/'); dispatchEvent(new PopStateEvent('popstate'))")
    second.wait(f"{COUNT} === '1'")
    second.close()
    third.close()
    fourth = chromium.new_page()
    fourth.open(address)
    fourth.wait("document.querySelector('#search-title')?.textContent?.startsWith('Nobody')")
    assert not fourth.run(SHOWN)
    fourth.close()


def test_a_window_whose_server_restarts_brings_its_page_back(chromium: Chromium, node: Embedded) -> None:
    first = chromium.new_page()
    address = publish(first, node, "still here")
    for worker in node.workers():
        os.kill(worker, signal.SIGKILL)
    first.wait("(document.querySelector('#events')?.textContent || '').includes('lost')")
    second = chromium.new_page()
    opened = False
    while not opened:
        try:
            second.open(address)
            opened = bool(second.wait(f"({SHOWN} || '').includes('still here')"))
        except ServerError:
            continue
    first.wait(f"{COUNT} === '2'")
    first.close()
    second.close()


@contextlib.contextmanager
def trap() -> Iterator[tuple[socket.socket, str]]:
    """A server that nobody must come to."""
    with socket.create_server((LOOPBACK, 0)) as listening:
        listening.setblocking(False)
        yield listening, f"http://{LOOPBACK}:{listening.getsockname()[1]}"


HOSTILE = """<p id="text">hostile</p>
<script>parent.document.title = "taken"; document.cookie = "a=b"; fetch("TRAP/fetch"); top.location = "TRAP/"</script>
<img src="TRAP/img" onerror="parent.document.title='taken'"><img src="x:" onerror="top.location='TRAP/onerror'">
<svg onload="parent.document.title='taken'"><image href="TRAP/svg"/></svg>
<link rel="stylesheet" href="TRAP/css"><link rel="preconnect" href="TRAP/"><link rel="prefetch" href="TRAP/prefetch">
<style>@import "TRAP/import"; body { background: url(TRAP/ground) }
@font-face { font-family: x; src: url(TRAP/font) }
p { font-family: x }</style>
<iframe src="TRAP/iframe"></iframe><object data="TRAP/object"></object><embed src="TRAP/embed">
<video src="TRAP/video" autoplay poster="TRAP/poster"></video><audio src="TRAP/audio" autoplay></audio>
<form id="form" action="TRAP/form" target="_top"><button id="submit">x</button></form>
<a id="top" href="TRAP/link" target="_top">x</a><a id="self" href="TRAP/self" target="_self">x</a>
<a id="ping" href="#" ping="TRAP/ping">x</a><base href="TRAP/"><img src="relative">
<template shadowrootmode="open"><link rel="preconnect" href="TRAP/"></template>
<meta http-equiv="refresh" content="0;url=TRAP/refresh"><portal src="TRAP/portal"></portal>"""


def test_hostile_html_reaches_nothing(chromium: Chromium, node: Embedded) -> None:
    with trap() as (listening, url):
        window = chromium.new_page()
        hostile = HOSTILE.replace("TRAP", url)
        address = publish(window, node, hostile)
        window.run("document.cookie = 'own=1'; 0")
        # as it is shown, and raw: what is taken out beforehand is not what protects
        for raw in (False, True):
            if raw:
                window.run(
                    "window.loaded = 0; document.querySelector('#frame').onload = () => { window.loaded += 1 };"
                    f"document.querySelector('#frame').srcdoc = {SHOWN}.replace('</body>', {json.dumps(hostile)}); 0"
                )
                window.wait("window.loaded > 0")
            box = window.run(
                "(b => [b.x, b.y, b.width, b.height])(document.querySelector('#frame').getBoundingClientRect())"
            )
            for step in range(1, 12):  # real clicks on whatever is there
                for kind in ("mousePressed", "mouseReleased"):
                    place = {"x": box[0] + 30 + 14 * (step % 4), "y": box[1] + box[3] * step / 12}
                    window.call("Input.dispatchMouseEvent", type=kind, **place, button="left", clickCount=1)
            assert window.run("location.href") == address
            assert window.run("document.title").startswith("Page ")
            assert window.run("document.cookie") == "own=1"
            assert window.run("document.querySelector('#frame').contentDocument") is None
        window.wait("new Promise(done => setTimeout(() => done(true), 500))")  # what was begun has had its time
        with pytest.raises(BlockingIOError):
            listening.accept()
        window.close()
        # ... and without frame and policies it would have come
        window = chromium.new_page()
        window.run(f"document.body.innerHTML = {json.dumps(hostile)}; 0")
        listening.settimeout(20.0)
        listening.accept()[0].close()
        window.close()


def test_a_window_checks_the_hash_itself(chromium: Chromium, node: Embedded) -> None:
    holder, reader = chromium.new_page(), chromium.new_page()
    address = publish(holder, node, "an honest page")
    tampering = """(data => Object.defineProperty(MessageEvent.prototype, "data", {
        get() { return data.get.call(this).replace("honest", "forged") } }))(
        Object.getOwnPropertyDescriptor(MessageEvent.prototype, "data"))"""
    reader.call("Page.addScriptToEvaluateOnNewDocument", source=tampering)
    reader.open(address)
    reader.wait("(document.querySelector('#events')?.textContent || '').includes('its hash is another')")
    assert not reader.run(SHOWN)
    holder.close()
    reader.close()


def test_without_a_secure_context_it_says_why_it_cannot(chromium: Chromium, node: Embedded) -> None:
    window = chromium.new_page()
    without = "Object.defineProperty(Crypto.prototype, 'subtle', { get() {} })"  # as over http:// from elsewhere
    window.call("Page.addScriptToEvaluateOnNewDocument", source=without)
    window.open(f"http://{LOOPBACK}:{node.plain.port}/")
    window.wait("document.querySelector('#warning')?.textContent.includes('https')")
    assert window.run("document.querySelector('#editor').hidden")
    window.close()


def test_the_console_scrolls_only_when_it_is_at_the_bottom(chromium: Chromium, node: Embedded) -> None:
    window = chromium.new_page()
    publish(window, node, "x")
    list_ = "document.querySelector('#events')"
    log = (
        f"import('/pages/console.js').then(m => {{ const c = new m.Console({list_});"
        " for (let i = 0; i < 50; i++) c.log('line ' + i) })"
    )
    at_bottom = f"{list_}.scrollHeight - {list_}.scrollTop - {list_}.clientHeight < 2"
    window.run(log)
    assert window.run(at_bottom)
    window.run(f"{list_}.scrollTop = 10")
    window.run(log)
    assert window.run(f"{list_}.scrollTop") == 10
    window.close()


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize(("width", "mobile"), [(1280, False), (390, True)])
def test_it_fits_a_phone_and_a_desk(
    chromium: Chromium, node: Embedded, tmp_path: Path, scheme: str, width: int, mobile: bool
) -> None:
    window = chromium.new_page()
    window.resize(width, 844 if mobile else 900, mobile=mobile)
    window.call("Emulation.setEmulatedMedia", features=[{"name": "prefers-color-scheme", "value": scheme}])
    window.open(f"http://{LOOPBACK}:{node.plain.port}/")
    window.wait("document.querySelector('#state')?.textContent === 'connected'")
    window.photograph(tmp_path / f"write-{scheme}-{width}.png")
    text = "<h1>Harvest supper</h1><p>Friday at seven, <b>in the barn</b>.</p><ul><li>Bread<li>Soup</ul>"
    publish(window, node, text)
    window.wait(f"{COUNT} === '1'")
    window.photograph(tmp_path / f"page-{scheme}-{width}.png")
    overflow = "document.documentElement.scrollWidth - document.documentElement.clientWidth"
    assert window.run(overflow) == 0
    assert window.run("document.documentElement.scrollHeight <= innerHeight + 1")
    window.open(f"http://{LOOPBACK}:{node.plain.port}/{'0' * 64}")
    window.wait("document.querySelector('#search')?.hidden === false")
    window.photograph(tmp_path / f"search-{scheme}-{width}.png")
    assert window.run(overflow) == 0
    window.close()
