"""A person at the web chat: what they do with Converse.js in a page of a browser, and what they see there."""

import json
from urllib.parse import urlsplit

from tests.servers.chromium import Page
from tests.servers.model import Account

SAID = "[...document.querySelectorAll('converse-muc .chat-msg__text')]"


class WebChat:
    """One page with the web chat at `origin`, such as "https://127.0.0.1:8443"."""

    def __init__(self, page: Page, origin: str) -> None:
        self.page = page
        self._origin = origin
        page.call("Network.enable")
        page.call("Log.enable")
        page.open(f"{origin}/chat")

    def log_in(self, account: Account) -> None:
        """Type name and password, as for the domain that needs not be said, and wait for a room to be there."""
        self.page.wait("document.querySelector('button[type=submit]') !== null")
        self.page.fill("input[name=jid]", account.user)
        self.page.fill("input[name=password]", account.password)
        self.page.click("button[type=submit]")
        self.in_room()

    def in_room(self) -> None:
        """Wait until the page shows a room that may be spoken in."""
        self.page.wait("document.querySelector('converse-muc textarea') !== null")

    def say(self, text: str) -> None:
        """Type a message to the room and send it."""
        self.page.fill("converse-muc textarea", text)
        self.page.click("converse-muc button.send-button")

    def hears(self, text: str) -> None:
        """Wait until the room shows a message with this text in it."""
        self.page.wait(f"{SAID}.some(each => each.innerText.includes({json.dumps(text)}))")

    def links(self) -> list[str]:
        """Where the links in all messages lead."""
        found = self.page.run(f"{SAID}.flatMap(each => [...each.querySelectorAll('a')].map(link => link.href))")
        return [str(each) for each in found]

    def strangers(self) -> set[str]:
        """The hosts other than its own that it has asked for something, or would have if its policy allowed it."""
        asked = {urlsplit(each) for each in self.page.requests()}
        return {each.netloc for each in asked if each.scheme != "data"} - {urlsplit(self._origin).netloc}

    def complaints(self) -> list[str]:
        """What the browser's log says of its security and of what was not there."""
        self.page.run("0")
        entries = [each["params"]["entry"] for each in self.page.events if each["method"] == "Log.entryAdded"]
        return [each["text"] for each in entries if each["source"] in ("security", "network")]
