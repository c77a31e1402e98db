"""Fuzz target: the framer cut in pieces, stopping or not, beside expat and libxml2.

    |flags|depth|attributes|stanza bytes|  four cuts  | stream ...
    |                 8 bytes                         |

One stream is read whole, in pieces and byte by byte, each piece in memory of its own that is gone when the next is read,
with another framer reading something else in between. All must tell the same. What the framer takes both parsers take, as
the same first-level elements ending at the same bytes (libxml2 does not say where). What the framer calls not well-formed
expat does not take either, save for what the framer is known to be stricter about.
"""

import re

from cpython.pycapsule cimport PyCapsule_New
from libc.stdint cimport uint8_t, uint32_t
from libc.stdlib cimport free, malloc
from libc.string cimport memcmp, memcpy, memset, strcmp, strlen, strrchr

from megaphone.wire.framer cimport (
    ERROR, HEADER, MORE, NOT_WELL_FORMED_XML, OTHER_ELEMENT, PROCEED_ELEMENT, STANZA, STREAM_END, SUCCESS_ELEMENT,
    Bounds, Framer, Scan, framer_ended, framer_free, framer_rests, framer_start, scan,
)

from megaphone.wire.framer import Element, Error, Event
from tests.unit.wire.model import Model

cdef enum:
    HEAD_BYTES = 8
    STREAM_LIMIT = 8192
    EVENTS_LIMIT = STREAM_LIMIT         # an event takes a byte at least
    # flags
    STOPS = 1
    RESTARTS = 2
    HEADED = 4              # the usual header comes first
    TIGHT = 8               # bounds from the input, else the usual ones
    # of cuts
    CUTS = 4
    DISTURBANCE = 7         # pieces between two of them
    REST = 251              # from here on: all that is left

cdef const char* USUAL_HEADER = (
    b"<?xml version='1.0'?><stream:stream xmlns='jabber:client' xmlns:stream='http://etherx.jabber.org/streams'"
    b" to='example.org' version='1.0'>"
)
# What the other framer reads: it leaves nothing of the shared scratch area as it was.
cdef const char* OTHER_STREAM = b"<s xmlns:q='u'><x><y a='' b='' c='' d='' e='' f='' g='' h='' i='' q:j='' xmlns:v='v' ww"

cdef struct Happening:
    int event
    int element
    size_t offset

cdef struct Reading:
    Happening happenings[EVENTS_LIMIT]
    int count
    uint32_t counts[4]
    int error
    size_t error_offset
    Py_ssize_t boundary
    bint rests
    bint ended

cdef struct Plan:
    uint8_t flags
    Bounds bounds
    const uint8_t* cuts     # how long each piece is, in turn

include "parsers.pxi"

# Where the framer is stricter than expat: namespace names, and names that are not ASCII.
in_a_declaration = re.compile(
    rb"[ \t\r\n]xmlns(?::[A-Za-z0-9_.-]+)?[ \t\r\n]*=[ \t\r\n]*(?:'[^']*|\"[^\"]*)\Z"
).search

cdef uint8_t STREAM[STREAM_LIMIT]
cdef Reading WHOLE, OTHER
cdef uint8_t ALL[CUTS]
cdef uint8_t SINGLE[CUTS]
ALL = [255, 255, 255, 255]
SINGLE = [1, 1, 1, 1]


cdef void disturb() noexcept:
    """Another framer reads, stops inside a tag and is gone."""
    cdef Framer framer
    cdef Bounds bounds
    cdef Scan result
    cdef size_t at = 0
    bounds.stanza_bytes, bounds.depth, bounds.attributes = 10000, 64, 64
    framer_start(&framer)
    scan(&framer, &bounds, <const uint8_t*> OTHER_STREAM, strlen(OTHER_STREAM), False, &result)
    at = result.offset
    scan(&framer, &bounds, <const uint8_t*> OTHER_STREAM + at, strlen(OTHER_STREAM) - at, False, &result)
    framer_free(&framer)


cdef int read(const uint8_t* data, size_t length, const Plan* plan, bint stops, Reading* reading) except -1:
    """Reads the stream as planned; AssertionError for an answer that makes no sense by itself."""
    cdef Framer framer
    cdef size_t at = 0
    cdef int turn = 0, empty = 0, outcome = MORE
    cdef uint8_t cut
    cdef size_t size
    cdef uint8_t* piece
    reading.count = 0
    reading.counts[0] = reading.counts[1] = reading.counts[2] = reading.counts[3] = 0
    reading.error = 0
    reading.error_offset = 0
    reading.boundary = -1
    framer_start(&framer)
    try:
        while at < length and outcome != ERROR:
            cut = plan.cuts[turn % CUTS]
            turn += 1
            empty = empty + 1 if cut == 0 else 0
            size = length - at if cut >= REST or empty == CUTS or cut > length - at else cut
            piece = NULL
            if size:
                piece = <uint8_t*> malloc(size)
                if piece == NULL:
                    raise MemoryError
                memcpy(piece, data + at, size)
            try:
                outcome = read_piece(&framer, piece, size, at, plan, stops, reading)
            finally:
                free(piece)
            if turn % DISTURBANCE == 1:
                disturb()
            at += size
        reading.rests = framer_rests(&framer)
        reading.ended = framer_ended(&framer)
    finally:
        framer_free(&framer)
    return 0


cdef int read_piece(
    Framer* framer, const uint8_t* piece, size_t size, size_t at, const Plan* plan, bint stops, Reading* reading,
) except -1:
    """Reads one piece, which begins at `at`, to its end or to an error; returns the last Event."""
    cdef size_t offset = 0
    cdef int event, i
    cdef Scan result
    cdef Happening* happening
    while True:
        if plan.flags & RESTARTS:
            framer.restart_allowed = 1
        event = scan(framer, &plan.bounds, piece + offset, size - offset, stops, &result)
        if result.offset > size - offset or result.boundary > <Py_ssize_t> result.offset or result.boundary < -1:
            raise AssertionError(f"beyond the piece: {result.offset} or {result.boundary} of {size - offset}")
        if result.boundary >= 0:
            reading.boundary = at + offset + result.boundary
        for i in range(4):
            reading.counts[i] += result.counts[i]
        offset += result.offset
        if event == ERROR:
            if result.error == 0:
                raise AssertionError("refused for nothing")
            reading.error = result.error
            reading.error_offset = at + offset
            if scan(framer, &plan.bounds, piece, size, stops, &result) != ERROR or result.error != reading.error:
                raise AssertionError("what was refused does not stay refused")
            return event
        if event == MORE:
            if offset != size:
                raise AssertionError(f"stopped for nothing at {at + offset}")
            return event
        if result.boundary != <Py_ssize_t> result.offset:
            raise AssertionError(f"an event at {at + offset} that is no boundary")
        happening = &reading.happenings[reading.count]
        happening.event = event
        happening.element = result.element if event == STANZA else 0
        happening.offset = at + offset
        reading.count += 1
        if offset == size:
            return event


cdef str told(Reading* reading):
    """For messages: everything that was read."""
    events = [
        f"{Event(reading.happenings[i].event).name} {Element(reading.happenings[i].element).name}"
        f" to {reading.happenings[i].offset}" for i in range(reading.count)
    ]
    end = f"{Error(reading.error).name} at {reading.error_offset}, boundary {reading.boundary}, rests {reading.rests}"
    return f"{events} {end} {[reading.counts[i] for i in range(4)]}"


cdef bint same(Reading* one, Reading* other) noexcept:
    cdef int i
    if one.count != other.count:
        return False
    for i in range(one.count):
        if (one.happenings[i].event != other.happenings[i].event or one.happenings[i].offset != other.happenings[i].offset
                or one.happenings[i].element != other.happenings[i].element):
            return False
    return same_end(one, other)


cdef bint same_end(Reading* one, Reading* other) noexcept:
    return (
        one.error == other.error and one.error_offset == other.error_offset and one.boundary == other.boundary
        and one.rests == other.rests and one.ended == other.ended
        and memcmp(one.counts, other.counts, sizeof(one.counts)) == 0
    )


cdef void forget_stanzas(Reading* reading) noexcept:
    """Leaves the events that a framer stops for in any case."""
    cdef int i, kept = 0
    cdef Happening happening
    for i in range(reading.count):
        happening = reading.happenings[i]
        if happening.event != STANZA or SUCCESS_ELEMENT <= happening.element <= PROCEED_ELEMENT:
            reading.happenings[kept] = happening
            kept += 1
    reading.count = kept


cdef bint is_space(uint8_t byte) noexcept:
    return byte == c' ' or byte == c'\t' or byte == c'\r' or byte == c'\n'


cdef bint is_name_byte(uint8_t byte) noexcept:
    return (
        c'a' <= byte <= c'z' or c'A' <= byte <= c'Z' or c'-' <= byte <= c':' and byte != c'/' or byte == c'_'
    )


cdef int compare_with_parsers(const uint8_t* data, size_t length, bint restarts, Reading* reading) except -1:
    """Compares each stream up to the next one's header, the last one to where nothing is wrong for certain.

    The reading stopped at stanzas.
    """
    cdef int first = 0, last
    cdef size_t begin = 0, end
    while first == 0 or first < reading.count:
        last = first + 1
        while last < reading.count and reading.happenings[last].event != HEADER:
            last += 1
        if last > reading.count:
            last = reading.count
        end = reading.happenings[last - 1].offset if last else 0
        if last == reading.count and reading.error == 0 and not restarts:
            # what there is of the next stanza, but no name that it may end in: that is checked when it is complete
            end = length
            while end > begin and is_name_byte(data[end - 1]):
                end -= 1
        while (first or restarts) and begin < end and is_space(data[begin]):
            begin += 1              # white space before a restart belongs to the old stream
        if begin < end:
            compare_stream(data, begin, end, &reading.happenings[first], last - first)
        if last == 0:
            return 0
        begin = end
        first = last
    return 0


cdef int compare_stream(const uint8_t* data, size_t begin, size_t end, Happening* happenings, int count) except -1:
    cdef Sight sight
    memset(&sight, 0, sizeof(sight))
    sight.expected = happenings
    sight.begin = begin
    sight.count = count
    ask_expat(data + begin, end - begin, sight)
    ask_libxml2(data + begin, end - begin, sight)
    return 0


cdef int compare_refusal(const uint8_t* data, size_t length, bint restarts, Reading* reading) except -1:
    """AssertionError if expat takes what the framer called not well-formed behind the header of the only stream."""
    if restarts or reading.count == 0 or reading.error != NOT_WELL_FORMED_XML:
        return 0
    if expat_goes_beyond(data, length, reading.error_offset) and data[reading.error_offset] < 0x80 \
            and not in_a_declaration(data[:reading.error_offset]):
        raise AssertionError(f"expat takes what is refused at {reading.error_offset} of {data[:length]!r}")
    return 0


cdef int compare_with_model(const uint8_t* data, size_t length, const Plan* plan, Reading* reading) except -1:
    """The reading stopped at stanzas."""
    cdef int i
    model = Model(
        data[:length],
        restarts=plan.flags & RESTARTS,
        stanza_bytes=plan.bounds.stanza_bytes,
        depth=plan.bounds.depth,
        attributes=plan.bounds.attributes,
    )
    answer = model.read()
    events = []
    for i in range(reading.count):
        kind = reading.happenings[i].event
        name = Element(reading.happenings[i].element).name if kind == STANZA else Event(kind).name
        events.append((name, reading.happenings[i].offset))
    if (events != answer.events or reading.error != (answer.error or 0) or list(reading.counts) != answer.counts
            or reading.error and reading.error_offset != answer.error_offset):
        raise AssertionError(f"the model: {answer}\nthe framer: {told(reading)}")
    return 0


cdef int compare_all(
    const uint8_t* data, size_t length, const Plan* plan, Reading* reading, bint thorough,
) except -1:
    """Compares a reading that stopped at stanzas with everything else."""
    compare_with_parsers(data, length, plan.flags & RESTARTS, reading)
    compare_refusal(data, length, plan.flags & RESTARTS, reading)
    if thorough:
        compare_with_model(data, length, plan, reading)
    return 0


cdef int check(const uint8_t* data, size_t size, bint thorough) except -1:
    """Reads one input in every way, if `thorough` with the model too; AssertionError if two of them differ."""
    cdef Plan plan
    cdef size_t length = 0, rest
    cdef bint stops
    if size < HEAD_BYTES:
        return 0
    plan.flags = data[0]
    plan.bounds.stanza_bytes, plan.bounds.depth, plan.bounds.attributes = 262144, 64, 64
    if plan.flags & TIGHT:
        plan.bounds.depth = 2 + data[1] % 254
        plan.bounds.attributes = 1 + data[2] % 255
        plan.bounds.stanza_bytes = 1 + 2 * data[3]
    if plan.flags & HEADED:
        length = strlen(USUAL_HEADER)
        memcpy(STREAM, USUAL_HEADER, length)
    rest = size - HEAD_BYTES
    if rest > STREAM_LIMIT - length:
        rest = STREAM_LIMIT - length
    memcpy(STREAM + length, data + HEAD_BYTES, rest)
    length += rest
    stops = plan.flags & STOPS
    plan.cuts = ALL
    read(STREAM, length, &plan, stops, &WHOLE)
    plan.cuts = data + 4
    read(STREAM, length, &plan, stops, &OTHER)
    if not same(&OTHER, &WHOLE):
        raise AssertionError(f"in pieces: {told(&OTHER)}\nwhole: {told(&WHOLE)}")
    plan.cuts = SINGLE
    read(STREAM, length, &plan, stops, &OTHER)
    if not same(&OTHER, &WHOLE):
        raise AssertionError(f"byte by byte: {told(&OTHER)}\nwhole: {told(&WHOLE)}")
    plan.cuts = ALL
    if stops:
        read(STREAM, length, &plan, False, &OTHER)
        compare_all(STREAM, length, &plan, &WHOLE, thorough)
        forget_stanzas(&WHOLE)
    else:
        read(STREAM, length, &plan, True, &OTHER)
        compare_all(STREAM, length, &plan, &OTHER, thorough)
        forget_stanzas(&OTHER)
    if not same(&OTHER, &WHOLE):
        raise AssertionError(f"stopping {not stops}: {told(&OTHER)}\nstopping {stops}: {told(&WHOLE)}")
    return 0


include "entry.pxi"
