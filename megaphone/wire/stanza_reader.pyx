"""Cuts reads into whole stanzas for whoever has to look at them: the framer's service use.

    read 1                    read 2                     read 3
    <iq …/><message>…</message><presence><show>aw | ay</show></presence> <iq …/>
    |in place                 |held ---------------------------------->| |in place

A stanza that lies in one read is given out where it lies. Only one that reads have split is collected, in memory that
belongs to the connection until the stanza has been dealt with; then it serves the next connection. What is held is never
more than the framer has counted for the stanza under way, which `Bounds.stanza_bytes` limits. A header is given out
without the XML declaration before it, which says nothing.
"""

from cpython.bytes cimport PyBytes_FromStringAndSize
from libc.stdlib cimport free, malloc
from libc.string cimport memchr, memcpy

from megaphone.wire.framer cimport (
    ERROR, HEADER, MORE, OUT_OF_MEMORY, STANZA, STREAM_END, Scan, framer_export, framer_free, framer_import, framer_start, scan,
)
from megaphone.wire.start_tag cimport skip_space

from megaphone.wire.framer import Element, Error, Event

cdef enum:
    SMALLEST = 512              # bytes of room; larger ones are twice, four times ... as large
    SIZES = 10                  # of room that is recycled: 512 bytes to 256 KiB
    SPARE_BYTES = 65536         # of one size are kept; of those that are larger, one

cdef struct Spare:
    Spare* next

cdef Spare* SPARE[SIZES]        # framing is for one thread
cdef int SPARES[SIZES]

# --- memory ---


cdef inline int size_of(size_t room) noexcept nogil:
    """Which size `room` bytes need: SIZES if they are too many for recycling."""
    cdef int size = 0
    while size < SIZES and <size_t> SMALLEST << size < room:
        size += 1
    return size


cdef uint8_t* take_room(uint32_t* room) noexcept nogil:
    """Returns at least `room` bytes, and in `room` how many; NULL if there are none to be had."""
    cdef int size = size_of(room[0])
    cdef Spare* spare
    if size == SIZES:
        # half as much again, so that collecting copies each byte a few times at most
        room[0] = room[0] + min(room[0] // 2, ~room[0])
        return <uint8_t*> malloc(room[0])
    room[0] = <uint32_t> SMALLEST << size
    spare = SPARE[size]
    if spare == NULL:
        return <uint8_t*> malloc(room[0])
    SPARE[size] = spare.next
    SPARES[size] -= 1
    return <uint8_t*> spare


cdef void give_back(StanzaReader* reader) noexcept nogil:
    """Holds nothing any more."""
    cdef int size = size_of(reader.room)
    cdef Spare* spare = <Spare*> reader.held
    reader.held = NULL
    reader.held_bytes = reader.room = 0
    if spare == NULL:
        return
    if size < SIZES and (SPARES[size] == 0 or <size_t> SPARES[size] * SMALLEST << size < SPARE_BYTES):
        spare.next = SPARE[size]
        SPARE[size] = spare
        SPARES[size] += 1
    else:
        free(spare)


cdef bint hold(StanzaReader* reader, const uint8_t* data, size_t length) noexcept nogil:
    """Adds bytes to what is held; False if there is no memory for them."""
    cdef uint32_t room = reader.held_bytes + <uint32_t> length
    cdef uint32_t held_bytes = reader.held_bytes
    cdef uint8_t* larger
    if room > reader.room:
        larger = take_room(&room)
        if larger == NULL:
            return False
        if held_bytes:
            memcpy(larger, reader.held, held_bytes)
        give_back(reader)
        reader.held = larger
        reader.held_bytes = held_bytes
        reader.room = room
    memcpy(reader.held + held_bytes, data, length)
    reader.held_bytes += <uint32_t> length
    return True

# --- reading ---


cdef void stanza_reader_start(StanzaReader* reader) noexcept nogil:
    """A reader before the first byte of a connection."""
    framer_start(&reader.framer)
    reader.held = NULL
    reader.held_bytes = reader.room = 0


cdef void stanza_reader_free(StanzaReader* reader) noexcept nogil:
    framer_free(&reader.framer)
    give_back(reader)


cdef bytes stanza_reader_export(StanzaReader* reader):
    """The framer's record behind its length, 4 bytes, then what is held of the stanza under way."""
    cdef bytes framer = framer_export(&reader.framer)
    cdef bytes held = b""
    if reader.framer.stanza_bytes and reader.held_bytes:    # else it is of a stanza that has been given out
        held = PyBytes_FromStringAndSize(<const char*> reader.held, reader.held_bytes)
    return len(framer).to_bytes(4, "big") + framer + held


cdef bint stanza_reader_import(StanzaReader* reader, bytes record) noexcept:
    cdef const uint8_t* data = <const uint8_t*> <const char*> record
    cdef size_t length = len(record), framer_length
    cdef StanzaReader made
    if length < 4:
        return False
    framer_length = <size_t> data[0] << 24 | <size_t> data[1] << 16 | <size_t> data[2] << 8 | data[3]
    stanza_reader_start(&made)
    if framer_length > length - 4 or not framer_import(&made.framer, data + 4, framer_length):
        return False
    if length > 4 + framer_length and (
        length - 4 - framer_length > made.framer.stanza_bytes or not hold(&made, data + 4 + framer_length, length - 4 - framer_length)
    ):
        framer_free(&made.framer)
        return False
    stanza_reader_free(reader)
    reader[0] = made
    return True


cdef int out_of_memory(StanzaReader* reader, Cut* cut) noexcept nogil:
    give_back(reader)
    framer_free(&reader.framer)
    reader.framer.stanza_bytes = ~(<uint32_t> 0)    # beyond every limit, so that the framer refuses whatever comes
    cut.error = OUT_OF_MEMORY
    return ERROR


cdef int next_stanza(StanzaReader* reader, const Bounds* bounds, Cut* cut) noexcept nogil:
    cdef Framer* framer = &reader.framer
    cdef Scan result
    cdef int event = MORE
    cdef size_t scanned = 0
    cdef const uint8_t* begin = cut.data + cut.offset
    cdef const uint8_t* end
    if framer.stanza_bytes == 0 and reader.held != NULL:
        give_back(reader)           # the stanza that the last call has given out
    if cut.offset < cut.length:
        event = scan(framer, bounds, begin, cut.length - cut.offset, True, &result)
        scanned = result.offset
        cut.offset += scanned
    end = cut.data + cut.offset
    if event == MORE:
        if framer.stanza_bytes != reader.held_bytes + scanned:
            give_back(reader)       # nothing was held, or an XML declaration that has ended
        scanned = framer.stanza_bytes - reader.held_bytes
        return MORE if scanned == 0 or hold(reader, end - scanned, scanned) else out_of_memory(reader, cut)
    cut.error = result.error
    if event == ERROR or event == STREAM_END:
        give_back(reader)
        return event
    cut.element = result.element
    if event == HEADER and (reader.held_bytes >= 2 and reader.held[1] == c'?' or reader.held_bytes == 1 and begin[0] == c'?'):
        # an XML declaration ends in this read, and behind it the header is in place
        give_back(reader)
        begin = skip_space(<const uint8_t*> memchr(begin, c'>', end - begin) + 1, end)
    if reader.held_bytes:
        if not hold(reader, begin, end - begin):
            return out_of_memory(reader, cut)
        cut.stanza = reader.held
        cut.stanza_bytes = reader.held_bytes
        return event
    begin = skip_space(begin, end)
    if event == HEADER and begin[1] == c'?':
        begin = skip_space(<const uint8_t*> memchr(begin, c'>', end - begin) + 1, end)
    cut.stanza = begin
    cut.stanza_bytes = <uint32_t> (end - begin)
    return event


cdef class StreamStanzaReader:
    """The stanza reader for Python: one direction of one stream.

    `stanza_bytes` (1..2**32-1), `depth` (2..255, the stream element counts) and `attributes` (1..255) bound every element;
    ValueError for others.
    """

    def __cinit__(self, uint32_t stanza_bytes=262144, int depth=64, int attributes=64):
        stanza_reader_start(&self.reader)
        if not (stanza_bytes >= 1 and 2 <= depth <= 255 and 1 <= attributes <= 255):
            raise ValueError("stanza_bytes from 1 to 2**32-1, depth from 2 to 255, attributes from 1 to 255")
        self.bounds.stanza_bytes = stanza_bytes
        self.bounds.depth = depth
        self.bounds.attributes = attributes

    def __dealloc__(self):
        stanza_reader_free(&self.reader)

    def allow_restart(self):
        """Accept one more stream header at depth 1 (after SASL success, RFC 6120 section 6.4.6)."""
        self.reader.framer.restart_allowed = 1

    def export(self):
        """The state as bytes, for `restore` in another process."""
        return stanza_reader_export(&self.reader)

    def restore(self, bytes record not None):
        """Goes on where `export` was called; ValueError for what is no such record."""
        if not stanza_reader_import(&self.reader, record):
            raise ValueError("not the record of a stanza reader")

    @property
    def held_bytes(self):
        """Bytes of the stanza under way that are held."""
        return self.reader.held_bytes

    @property
    def room(self):
        """Bytes of memory that they lie in."""
        return self.reader.room

    def read(self, const uint8_t[::1] data, *, bint restarts=False):
        """Takes one read; returns (Event, Element or Error, header or stanza, whether it lay in this read) for each event.

        With `restarts` a new stream header may come at any time.
        """
        cdef Cut cut
        cdef int event = STANZA
        cdef bint in_place
        cdef list events = []
        cut.data = &data[0] if data.shape[0] else NULL
        cut.length = data.shape[0]
        cut.offset = 0
        while event == STANZA or event == HEADER:
            if restarts:
                self.allow_restart()
            event = next_stanza(&self.reader, &self.bounds, &cut)
            if event == STANZA or event == HEADER:
                in_place = self.reader.held == NULL
                text = (<const char*> cut.stanza)[:cut.stanza_bytes]
                events.append((Event(event), Element(cut.element) if event == STANZA else None, text, in_place))
            elif event != MORE:
                events.append((Event(event), Error(cut.error) if event == ERROR else None, b"", False))
        return events

STATE_BYTES = sizeof(StanzaReader)
