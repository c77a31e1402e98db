"""The hub's sweep: ends what has taken too long and puts on the counter board what is not counted on the way.

There is no timer per stream: every stream is looked at about once a second, a part of the registry at a time.
"""

from libc.stdint cimport uint32_t, uint64_t

from megaphone.dispatch.counters cimport *
from megaphone.hub.link cimport HubLink
from megaphone.hub.shared cimport Hub
from megaphone.hub.socket cimport LinkSocket
from megaphone.wire.link_session cimport ATTACHED


def sweep(Hub hub, uint32_t parts):
    """Looks at one of `parts` equal parts of the streams, and each `parts`th time at every link and socket."""
    hub.poller.look_at_clock()
    hub.dispatcher.look_at_part(parts, hub.poller.now_ticks, 0)
    hub.sweeps += 1
    if hub.sweeps % parts == 0:
        sweep_links(hub)
    hub.poller.give_back()
    put_on_board(hub)


cdef void sweep_links(Hub hub):
    cdef HubLink link
    cdef LinkSocket socket
    for link in list(hub.links.values()):
        if link.socket is None:
            link.tick(hub.poller.now_ns)
    # also those of sessions that are over but still have their last words to say
    for socket in list(hub.sockets):
        socket.tick()


cdef void put_on_board(Hub hub):
    cdef HubLink link
    cdef uint64_t* slots = hub.board.slots
    cdef uint64_t attached = 0, kept = 0, unsent = 0
    for link in hub.links.values():
        link.count()
        attached += link.state == ATTACHED
        kept += link.kept_bytes()
        unsent += link.unsent_bytes()
    slots[<int> HUB_LINKS_ATTACHED] = attached
    slots[<int> HUB_LINKS_WAITING] = len(hub.links) - attached
    slots[<int> HUB_KEPT_BYTES] = kept
    slots[<int> HUB_UNSENT_BYTES] = unsent
    hub.poller.put_on_board(hub.board)
