"""Subjects of users, rooms and workers in a cluster: short, of one alphabet, and the same on every node."""

from __future__ import annotations

import base64
import hashlib

TOKEN_CHARACTERS = 26
_DIGEST_BYTES = 16
_NODE_CHARACTERS = 16


def token_of(text: str) -> str:
    """Return the 26 characters that stand for a normalised bare JID, or for a resource, in subjects and keys.

    They are the first 16 bytes of its SHA-256 in lower-case base32 (RFC 4648 section 6) without padding.
    """
    digest = hashlib.sha256(text.encode()).digest()[:_DIGEST_BYTES]
    return base64.b32encode(digest).rstrip(b"=").decode().lower()


def user_subject(bare: str) -> str:
    """Return the subject of all sessions of a user, by the bare JID."""
    return f"u.{token_of(bare)}"


def session_subject(bare: str, resource: str) -> str:
    """Return the subject of one session."""
    return f"u.{token_of(bare)}.{token_of(resource)}"


def room_subject(bare: str) -> str:
    """Return the subject of a room, by its JID."""
    return f"m.{token_of(bare)}"


def worker_subject(node: str, worker: int, what: str) -> str:
    """Return a subject of one worker of a node, which is named by its key in hex; `what` may have several words."""
    return f"n.{node[:_NODE_CHARACTERS]}.{worker}.{what}"
