"""The server side of links for the relay benchmark: lets every stream log in, then sends every byte back.

What swarm/echo.c is for relays that open one socket per client. It runs on the load's core and counts for no relay.
"""

from cpython.bytes cimport PyBytes_FromStringAndSize
from libc.errno cimport EAGAIN, errno
from libc.stdint cimport uint8_t, uint64_t
from libc.string cimport memcpy, strlen
from posix.time cimport CLOCK_MONOTONIC, clock_gettime, timespec
from posix.uio cimport iovec, writev
from posix.unistd cimport read

from megaphone.wire.link_greeting cimport LinkGreeting
from megaphone.wire.link_session cimport ATTACHED, REGIONS, LinkSession
from megaphone.wire.link_streams cimport Stream

import os
import select
import socket

from megaphone.wire.link import Side

cdef extern from "string.h":
    void* memmem(const void*, size_t, const void*, size_t) noexcept nogil

cdef extern from "xmpp.h":
    cdef struct answer:
        const char* terminator
        const char* text
    const answer ANSWERS[]
    int LOGIN_STEPS
    const char* CLIENT_SPACE

cdef enum:
    READ_BYTES = 65536
    STREAMS = 100000
    TICK_NS = 1000000000

cdef uint8_t buffer[READ_BYTES]
cdef uint8_t bare[READ_BYTES]


cdef size_t strip_namespace(const uint8_t* data, size_t length) noexcept:
    """Fills `bare` with `data` but for the first declaration of what the stream has declared: swarm/echo.c does, too."""
    cdef size_t size = strlen(CLIENT_SPACE), before
    cdef const uint8_t* found = <const uint8_t*> memmem(data, length, CLIENT_SPACE, size)
    if found == NULL:
        memcpy(bare, data, length)
        return length
    before = found - data
    memcpy(bare, data, before)
    memcpy(bare + before, found + size, length - before - size)
    return length - size


cdef uint64_t now() noexcept:
    cdef timespec time
    clock_gettime(CLOCK_MONOTONIC, &time)
    return <uint64_t> time.tv_sec * 1000000000 + time.tv_nsec


cdef class Session:
    """One client's stream: how far its login is, and what could not be sent yet."""

    cdef int step
    cdef bytes request      # what has come of the present request
    cdef bytes rest         # to be sent when there is room


cdef class Link(LinkSession):
    """One link."""

    cdef object socket      # or None
    cdef bint blocked       # the socket did not take all at the last flush

    cdef void on_opened(self, Stream* stream, object facts):
        session = Session()
        session.request = session.rest = b""
        self.set_owner(stream, session)

    cdef void on_data(self, Stream* stream, const uint8_t* data, size_t length):
        cdef Session session = <Session> stream.owner
        cdef const answer* expected
        cdef size_t sent, kept
        if session.step == LOGIN_STEPS:
            kept = strip_namespace(data, length)
            self.took(stream, length - kept)
            if session.rest:
                session.rest += bare[:kept]
                return
            sent = self.put_data(stream, bare, kept)
            self.took(stream, sent)
            if sent < kept:
                session.rest = PyBytes_FromStringAndSize(<const char*> bare + sent, kept - sent)
            return
        self.took(stream, length)
        expected = &ANSWERS[session.step]
        session.request += data[:length]
        if session.request.endswith(<bytes> expected.terminator):
            session.request = b""
            session.step += 1
            self.put_data(stream, <const uint8_t*> expected.text, strlen(expected.text))    # far less than a window

    cdef void on_room(self, Stream* stream):
        cdef Session session = <Session> stream.owner
        cdef size_t sent = self.put_data(stream, <const uint8_t*> <char*> session.rest, len(session.rest))
        session.rest = session.rest[sent:]
        self.took(stream, sent)

    cdef void on_disconnect(self):
        self.close()

    cpdef void close(self):
        """Without its socket the session waits for another one."""
        if self.socket is not None:
            self.socket.close()
            self.socket = None

    cpdef bint flush(self):
        """Write what there is to say; False if the socket does not take all of it now."""
        cdef iovec regions[REGIONS]
        cdef ssize_t length
        cdef int count, fd
        while self.socket is not None:
            count = self.unsent(regions)
            if count == 0:
                return True
            fd = self.socket.fileno()
            length = writev(fd, regions, count)
            if length < 0:
                return errno != EAGAIN      # an error is also an event, on which `receive` finds the end
            self.wrote(length)
        return True

    cpdef void receive(self):
        """Read once and answer."""
        cdef int fd = self.socket.fileno()
        cdef ssize_t length = read(fd, buffer, READ_BYTES)
        if length > 0:
            self.take_bytes(buffer, length, now())
        elif length == 0 or errno != EAGAIN:
            self.disconnected(now())
            self.close()


cdef Link greet(object connection, bytes secret, bytes instance, dict links):
    """Shake hands on a new socket, blocking: an edge comes with all its links at its start."""
    cdef iovec regions[1]
    cdef size_t taken = 0
    cdef bytes data = b""
    cdef Link link
    greeting = LinkGreeting(secret, os.urandom(16), instance, now())
    greeting.unsent(regions)
    connection.sendall((<uint8_t*> regions[0].iov_base)[:regions[0].iov_len])
    greeting.wrote(regions[0].iov_len)
    while greeting.hello is None:
        data = connection.recv(READ_BYTES)
        taken = greeting.take_bytes(data, len(data))
        if greeting.refused or not data:
            connection.close()
            return None
    key = greeting.hello.session
    if key not in links or links[key].over:
        links[key] = Link(Side.SERVER, secret, key, streams_limit=STREAMS)
    link = links[key]
    if not link.accept(greeting, now()):
        connection.close()
        return None
    connection.setblocking(False)
    link.socket = connection
    link.take_bytes(data[taken:], len(data) - taken, now())
    return link


def serve(int port, bytes secret):
    """Take links at the loopback port, for ever."""
    cdef dict links = {}, by_fd = {}
    cdef bytes instance = os.urandom(16)
    cdef uint64_t due = 0
    cdef Link link
    listener = socket.create_server(("127.0.0.1", port), backlog=64)
    poller = select.epoll()
    poller.register(listener, select.EPOLLIN)
    while True:
        for fd, events in poller.poll(1.0):
            if fd == listener.fileno():
                connection = listener.accept()[0]
                connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
                link = greet(connection, secret, instance, links)
                if link is not None:
                    by_fd[connection.fileno()] = link
                    poller.register(connection, select.EPOLLIN)
            elif events & ~select.EPOLLOUT:
                link = by_fd[fd]
                link.receive()
        if now() >= due:
            due = now() + TICK_NS
            for link in links.values():
                link.tick(now())
        for fd, link in list(by_fd.items()):
            blocked = not link.flush()
            if link.socket is None:
                del by_fd[fd]
            elif blocked != link.blocked:
                link.blocked = blocked
                poller.modify(fd, select.EPOLLIN | select.EPOLLOUT if blocked else select.EPOLLIN)
