"""Which nodes of the cluster are there, for clients that want to be told: an extension of ours (reference/cluster.md).

C: <iq type='set' to='example.org' id='1'><nodes xmlns='urn:megaphone:nodes:0'/></iq>
S: <iq type='result' ...><nodes xmlns='urn:megaphone:nodes:0'><node name='a'/><node name='b'/></nodes></iq>
S: <message type='headline' from='example.org' ...><nodes ...>...</nodes></message>      whenever they change
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from megaphone.service.refusal import Refusal
from megaphone.wire.writer import escape

if TYPE_CHECKING:
    from megaphone.service.home import Home
    from megaphone.service.session import Session

NODES = "urn:megaphone:nodes:0"


def watch(home: Home, session: Session) -> bytes:
    """Tell a session of changes from now on, and return who is there; Refusal without a cluster."""
    if not home.node_names:
        raise Refusal("service-unavailable")
    home.node_watchers[session] = None
    return _content(home)


def changed(home: Home, names: tuple[str, ...]) -> None:
    """Tell who wants to know that these nodes are there now."""
    if names == home.node_names:
        return
    home.node_names = names
    content = _content(home)
    for session in list(home.node_watchers):
        home.deliver(
            session,
            b"<message type='headline' from='%b' to='%b'>%b</message>"
            % (escape(home.domain), escape(str(session.jid)), content),
        )


def _content(home: Home) -> bytes:
    nodes = b"".join(b"<node name='%b'/>" % escape(name) for name in home.node_names)
    return b"<nodes xmlns='%b'>%b</nodes>" % (NODES.encode(), nodes)
