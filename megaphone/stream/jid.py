"""A JID: local part, domain and resource, each in the one form in which two of them can be compared (RFC 7622)."""

from __future__ import annotations

import re
from functools import lru_cache
from typing import NamedTuple

from precis_i18n import get_profile

from megaphone.stream.domain import normalise_domain

PART_LIMIT_BYTES = 1023
CACHE_SIZE = 8192

_PLAIN_LOCAL = re.compile(r"[!#-%(-.0-9;=?\[-~A-Z]+")  # ASCII without space and "&'/:<>@
_PLAIN_RESOURCE = re.compile(r"[ -~]+")
# RFC 7622 section 3.3.1: what the PRECIS class allows and a local part does not.
_NOT_LOCAL = frozenset("\"&'/:<>@")

_username = get_profile("UsernameCaseMapped")
_opaque = get_profile("OpaqueString")


class JID(NamedTuple):
    """One address; `local` and `resource` are "" where the JID has none. Made by `JID.parse` and `JID.of`.

    The parts are normalised, so that equal JIDs are equal tuples, and `str` gives the text that others see.
    """

    local: str
    domain: str
    resource: str = ""

    @staticmethod
    def parse(text: str) -> JID:
        """Read "local@domain/resource"; ValueError with the reason for what is no JID (answer: jid-malformed)."""
        return _parse(text)

    @staticmethod
    def of(local: str, domain: str, resource: str = "") -> JID:
        """Make a JID from parts that are not normalised yet; ValueError for what they cannot be."""
        return JID(
            normalise_local(local) if local else "",
            normalise_domain(domain),
            normalise_resource(resource) if resource else "",
        )

    @property
    def bare(self) -> JID:
        """The JID without its resource."""
        return self if not self.resource else JID(self.local, self.domain)

    @property
    def is_bare(self) -> bool:
        """Whether it has no resource."""
        return not self.resource

    def at(self, resource: str) -> JID:
        """Return the full JID of this one's bare JID with a resource that is normalised already."""
        return JID(self.local, self.domain, resource)

    def __str__(self) -> str:
        text = f"{self.local}@{self.domain}" if self.local else self.domain
        return f"{text}/{self.resource}" if self.resource else text


@lru_cache(CACHE_SIZE)
def _parse(text: str) -> JID:
    # RFC 7622 section 3.1: the first "/" ends the domain, the first "@" before it the local part
    address, slash, resource = text.partition("/")
    local, at, domain = address.partition("@")
    if not at:
        local, domain = "", address
    elif not local:
        raise ValueError("the local part before @ is empty")
    if slash and not resource:
        raise ValueError("the resource behind / is empty")
    return JID.of(local, domain, resource)


def normalise_local(text: str) -> str:
    """Return a local part as UsernameCaseMapped of RFC 8265 gives it; ValueError for what is none."""
    if _PLAIN_LOCAL.fullmatch(text):
        return _within_limit(text.lower(), "local part")
    normal = _enforced(_username, text, "local part")
    if not _NOT_LOCAL.isdisjoint(normal):
        raise ValueError(f"the local part {text[:40]!r} holds one of \"&'/:<>@")
    return normal


def normalise_resource(text: str) -> str:
    """Return a resource, or a nick, as OpaqueString of RFC 8265 gives it; ValueError for what is none."""
    if _PLAIN_RESOURCE.fullmatch(text):
        return _within_limit(text, "resource")
    return _enforced(_opaque, text, "resource")


def _enforced(profile: object, text: str, what: str) -> str:
    if len(text) > PART_LIMIT_BYTES:  # before the work that long texts make
        raise ValueError(f"the {what} has more than {PART_LIMIT_BYTES} bytes")
    try:
        normal: str = profile.enforce(text)  # type: ignore[attr-defined]
    except UnicodeError:
        raise ValueError(f"the {what} {text[:40]!r} holds a character that none may have, or is empty") from None
    return _within_limit(normal, what)


def _within_limit(text: str, what: str) -> str:
    if len(text.encode()) > PART_LIMIT_BYTES:
        raise ValueError(f"the {what} has more than {PART_LIMIT_BYTES} bytes")
    return text
