"""Fuzz target: the TLS 1.3 record layer, beside a plain model of what RFC 8446 says of a stream of records.

    | bits 5-7: cuts, 4: is an export, 3: moves, 1-2: suite, 0: client | cuts, 2 bytes each | script ... |

The fuzzer cannot make a tag, so it writes a script, and the peer's records are made from that:

    0  data             | op | length | content |           bits 3-7 of each op: bytes of padding
    1  handshake        | op | length | content |
    2  any type         | op | type | length | content |
    3  alert            | op | level | description |
    4  long data        | op | length, 2 |                  padding: what is then left to 16385, if bit 3 is set
    5  the next keys    | op |                              the peer's, whether it has said so or not
    6  in clear         | op | length | bytes |
    7  a changed byte   | op | where, 2 | by |              in what has been made so far

The records are read whole, in pieces and byte by byte, if it moves with an export and import between any two pieces. Each
reading must say what the model says: the data, the end, the alert, what is kept, the keys, and whether an answer is owed.
An export that is taken is exported again as it was, and can be used.
"""

from cpython.pycapsule cimport PyCapsule_New
from libc.stdint cimport uint8_t, uint16_t, uint32_t, uint64_t
from libc.stdlib cimport free, malloc
from libc.string cimport memcmp, memcpy, memmove, memset
from posix.uio cimport iovec

from megaphone.wire.tls_contexts cimport forget_context, protect
from megaphone.wire.tls_keys cimport Direction, derive_keys, update_keys
from megaphone.wire.tls_records cimport (
    BROKEN, CLOSE_ROOM, EXPORT_LIMIT, OPEN_ROOM, PEER_CLOSED, SEAL_ROOM,
    Input, Output, Records,
    records_alert, records_close, records_export, records_free, records_import, records_new, records_open, records_seal,
)

cdef enum:
    STREAM_LIMIT = 131072
    RECORDS_LIMIT = 512
    SINGLE_LIMIT = 400          # longer streams are read byte by byte only if they are a sample,
    SAMPLE_LIMIT = 4096         # or not at all: the sanitizers make each realloc a copy
    MOVE_LIMIT = 100            # so many moves take their time
    CUTS_LIMIT = 7
    SILENT_LIMIT = 32
    CLIENT = 1
    MOVES = 8
    EXPORT = 16

# A record as the peer has made it.
cdef struct Made:
    size_t offset
    size_t length
    size_t content              # where its inner plaintext is in CONTENTS
    uint32_t generation
    uint64_t sequence

cdef struct Said:
    size_t length               # of the data, which is in PLAIN
    int end                     # 0, PEER_CLOSED, BROKEN
    int alert
    size_t kept
    uint64_t sequence
    bint owes

cdef uint8_t STREAM[STREAM_LIMIT]
cdef uint8_t WIRE[STREAM_LIMIT]         # as STREAM, before bytes were changed
cdef uint8_t CONTENTS[STREAM_LIMIT]
cdef uint8_t PLAIN[STREAM_LIMIT]
cdef uint8_t READ[STREAM_LIMIT + OPEN_ROOM]
cdef uint8_t MESSAGE[STREAM_LIMIT]
cdef uint8_t SEALED[SEAL_ROOM]
cdef Made MADE[RECORDS_LIMIT]
cdef size_t SINGLE[STREAM_LIMIT]
for index in range(STREAM_LIMIT):
    SINGLE[index] = index

cdef Direction peer             # what it sends
peer.slot = 0
cdef uint16_t peer_suite = 0x1301
cdef uint8_t THEIRS[48]
cdef uint8_t OURS[48]
memset(THEIRS, 7, 48)
memset(OURS, 9, 48)

# --- the script ---

cdef size_t stream_length = 0
cdef int made_count = 0
cdef uint32_t generation = 0


cdef int start(uint16_t suite, const uint8_t* data, size_t size) except -1:
    """Each input has a secret of its own: else the fuzzer learns what a genuine record looks like, and says it in clear."""
    global stream_length, made_count, generation, peer_suite
    cdef uint64_t digest = 0xcbf29ce484222325       # FNV-1a
    cdef size_t i
    for i in range(size):
        digest = (digest ^ data[i]) * <uint64_t> 0x100000001b3
    memcpy(THEIRS, &digest, 8)
    forget_context(peer_suite, &peer)
    stream_length = made_count = generation = 0
    peer_suite = suite
    memcpy(peer.secret, THEIRS, 48)
    if not derive_keys(suite, &peer):
        raise MemoryError
    return 0


cdef int make(uint8_t type, const uint8_t* content, size_t length, size_t padding) except -1:
    """Adds a record; nothing if there is no space."""
    global stream_length, made_count
    cdef size_t inner = length + 1 + padding
    cdef uint8_t* record = WIRE + stream_length
    cdef Made* made = &MADE[made_count]
    if stream_length + inner + 21 > STREAM_LIMIT or made_count == RECORDS_LIMIT:
        return 0
    record[0], record[1], record[2] = 23, 3, 3
    record[3], record[4] = <uint8_t> ((inner + 16) >> 8), <uint8_t> (inner + 16)
    if content == NULL:
        memset(record + 5, 33, length)
    elif length:
        memcpy(record + 5, content, length)
    record[5 + length] = type
    memset(record + 6 + length, 0, padding)
    made.offset, made.length, made.content = stream_length, inner + 21, stream_length
    made.generation, made.sequence = generation, peer.sequence
    memcpy(CONTENTS + stream_length, record + 5, inner)
    if not protect(peer_suite, &peer, record, inner):
        raise MemoryError
    peer.sequence += 1
    stream_length += inner + 21
    made_count += 1
    memcpy(STREAM + made.offset, record, made.length)
    return 0


cdef int play(const uint8_t* at, const uint8_t* end) except -1:
    """Makes the stream from a script; what is cut off at its end is not played."""
    global stream_length, generation
    cdef uint8_t op, type
    cdef size_t length, where
    while at < end:
        op = at[0]
        at += 1
        if op & 7 == 5:
            forget_context(peer_suite, &peer)
            if not update_keys(peer_suite, &peer):
                raise MemoryError
            generation += 1
            continue
        if end - at < (3 if op & 7 == 7 else 2 if op & 7 in (2, 3, 4) else 1):
            return 0
        if op & 7 == 3:
            make(21, at, 2, op >> 3)
            at += 2
        elif op & 7 == 4:
            length = (at[0] << 8 | at[1]) % 16390
            make(23, NULL, length, 16384 - length if op & 8 and length <= 16384 else 0)
            at += 2
        elif op & 7 == 7:
            if stream_length:
                where = (at[0] << 8 | at[1]) % stream_length
                STREAM[where] ^= at[2]
            at += 3
        else:
            type = 23 if op & 7 == 0 else 22
            if op & 7 == 2:
                type = at[0]
                at += 1
            length = at[0]
            at += 1
            if <size_t> (end - at) < length:
                length = end - at
            if op & 7 == 6:
                if stream_length + length <= STREAM_LIMIT:
                    memcpy(STREAM + stream_length, at, length)
                    memcpy(WIRE + stream_length, at, length)
                    stream_length += length
            else:
                make(type, at, length, op >> 3)
            at += length
    return 0

# --- the model ---

cdef Said EXPECTED


cdef int model_handshake(size_t message, bint client, int* request) noexcept:
    """What a beginning of handshake messages is: its first whole message's length; 0: more is needed; -alert."""
    cdef size_t length
    if message == 0:
        return 0
    if MESSAGE[0] != 24 and not (client and MESSAGE[0] == 4):
        return -10
    if message < 4:
        return 0
    length = MESSAGE[1] << 16 | MESSAGE[2] << 8 | MESSAGE[3]
    if MESSAGE[0] == 24:
        if length != 1:
            return -50
        if message > 5:
            return -10
        if message < 5:
            return 0
        if MESSAGE[4] > 1:
            return -47
        request[0] = MESSAGE[4]
        return 5
    return <int> (4 + length) if message >= 4 + length else 0


cdef int model(bint client) except -1:
    """Reads the stream as RFC 8446 says, and knows what is genuine without any key."""
    cdef size_t at = 0, fragment, message = 0, inner
    cdef uint32_t epoch = 0
    cdef int silent = 0, i, found, size, request
    cdef const uint8_t* content
    cdef uint8_t type
    memset(&EXPECTED, 0, sizeof(EXPECTED))
    EXPECTED.alert = -1
    while EXPECTED.end == 0:
        EXPECTED.kept = stream_length - at
        if stream_length - at < 5:
            return 0
        fragment = STREAM[at + 3] << 8 | STREAM[at + 4]
        EXPECTED.end = BROKEN
        if STREAM[at] != 23:
            EXPECTED.alert = 10
            return 0
        if fragment > 16384 + 1 + 16:
            EXPECTED.alert = 22
            return 0
        EXPECTED.alert = 20
        if fragment < 16:
            return 0
        if stream_length - at < 5 + fragment:
            EXPECTED.end, EXPECTED.alert = 0, -1
            return 0
        found = -1
        for i in range(made_count):
            if MADE[i].offset == at:
                found = i
        if (found < 0 or MADE[found].length != 5 + fragment or MADE[found].generation != epoch
                or MADE[found].sequence != EXPECTED.sequence or memcmp(STREAM + at, WIRE + at, 5 + fragment) != 0):
            return 0
        EXPECTED.sequence += 1
        EXPECTED.alert = 10
        content = CONTENTS + MADE[found].content
        inner = fragment - 16
        at += 5 + fragment
        while inner and content[inner - 1] == 0:
            inner -= 1
        if inner == 0:
            return 0
        inner -= 1
        type = content[inner]
        silent = 0 if type == 23 and inner and not message else silent + 1
        if silent > SILENT_LIMIT:
            return 0
        if type == 23 and not message:
            memcpy(PLAIN + EXPECTED.length, content, inner)
            EXPECTED.length += inner
        elif type == 21 and inner:
            EXPECTED.alert = 50
            if inner != 2:
                return 0
            EXPECTED.alert = 256 + content[1]
            if content[1] == 0:
                EXPECTED.end, EXPECTED.alert = PEER_CLOSED, -1
                return 0
            if content[1] != 90:
                return 0
        elif type == 22 and inner:
            memcpy(MESSAGE + message, content, inner)
            message += inner
            while True:
                request = -1
                size = model_handshake(message, client, &request)
                if size < 0:
                    EXPECTED.alert = -size
                    return 0
                if size == 0:
                    break
                if request >= 0:
                    epoch += 1
                    EXPECTED.sequence = 0
                    EXPECTED.owes = EXPECTED.owes or request
                message -= size
                memmove(MESSAGE, MESSAGE + size, message)
        else:
            return 0
        EXPECTED.end, EXPECTED.alert = 0, -1
    return 0

# --- readings ---


cdef Records* moved(Records* records) except NULL:
    """The same, by an export."""
    cdef uint8_t* exported = <uint8_t*> malloc(EXPORT_LIMIT)
    cdef size_t length
    cdef Records* copy
    if exported == NULL:
        raise MemoryError
    length = records_export(records, exported, EXPORT_LIMIT)
    copy = records_import(exported, length)
    free(exported)
    if length == 0 or copy == NULL:
        raise AssertionError("an export is not taken")
    records_free(records)
    return copy


cdef int read(uint16_t suite, bint client, const size_t* cuts, size_t count, bint moves, size_t room) except -1:
    """Reads what lies between the cuts, which ascend, each piece in memory of its own; AssertionError if that is wrong."""
    cdef Records* records = records_new(suite, THEIRS, OURS, 0, 0, client)
    cdef size_t at = 0, end, i = 0, length = 0
    cdef Py_ssize_t size = 0
    cdef uint8_t* piece
    cdef Input input
    cdef Output output
    cdef iovec region
    if records == NULL:
        raise MemoryError
    try:
        while i <= count:
            end = cuts[i] if i < count else stream_length
            i += 1
            piece = <uint8_t*> malloc(end - at)
            if piece == NULL:
                raise MemoryError
            memcpy(piece, STREAM + at, end - at)
            input.data, input.length = piece, end - at
            while True:
                size = records_open(records, &input, READ + length, room)
                if size <= 0:
                    break
                length += size
            free(piece)
            at = end
            if input.length:
                raise AssertionError(f"{input.length} bytes are left of the piece to {end}")
            if moves:
                records = moved(records)
        if length != EXPECTED.length or memcmp(READ, PLAIN, length) != 0:
            raise AssertionError(f"{length} bytes of data instead of {EXPECTED.length}, or others")
        if size != EXPECTED.end or records_alert(records) != EXPECTED.alert:
            raise AssertionError(f"ends with {size}, {records_alert(records)}, not {EXPECTED.end}, {EXPECTED.alert}")
        if records.partial_length != (0 if size else EXPECTED.kept):
            raise AssertionError(f"keeps {records.partial_length} bytes, not {EXPECTED.kept}")
        if records.incoming.sequence != EXPECTED.sequence:
            raise AssertionError(f"waits for record {records.incoming.sequence}, not {EXPECTED.sequence}")
        # the answer
        output.data, output.length, output.room = SEALED, 0, SEAL_ROOM
        region.iov_base, region.iov_len = READ, 1
        size = records_seal(records, &region, 1, &output)
        if EXPECTED.end == BROKEN:
            if size != BROKEN or output.length:
                raise AssertionError("speaks after an end")
        elif size != 1 or output.length != <size_t> (50 if EXPECTED.owes else 23):
            raise AssertionError(f"{output.length} bytes for one")
        output.length, output.room = 0, CLOSE_ROOM
        records_close(records, &output)
        if output.length != <size_t> (0 if EXPECTED.alert >= 256 else 24):
            raise AssertionError(f"a last word of {output.length} bytes")
    finally:
        records_free(records)
    return 0


cdef int read_export(const uint8_t* data, size_t size) except -1:
    """Anything as an export: if it is taken, it is one."""
    cdef uint8_t* copy = <uint8_t*> malloc(size)
    cdef uint8_t* again
    cdef Records* records
    cdef Input input
    cdef Output output
    cdef iovec region
    cdef size_t length
    if copy == NULL:
        raise MemoryError
    memcpy(copy, data, size)
    records = records_import(copy, size)
    free(copy)
    if records == NULL:
        return 0
    try:
        again = <uint8_t*> malloc(EXPORT_LIMIT)
        length = records_export(records, again, EXPORT_LIMIT)
        if length != size or memcmp(again, data, 11) != 0 or memcmp(again + 16, data + 16, size - 16) != 0:
            raise AssertionError("another export than the one that was taken")
        free(again)
        input.data, input.length = STREAM, 40
        while records_open(records, &input, READ, OPEN_ROOM) > 0:
            pass
        output.data, output.length, output.room = SEALED, 0, SEAL_ROOM
        region.iov_base, region.iov_len = READ, 100
        records_seal(records, &region, 1, &output)
        output.length = 0
        records_close(records, &output)
    finally:
        records_free(records)
    return 0


cdef int check(const uint8_t* data, size_t size, bint thorough) except -1:
    """Reads one input in every way; AssertionError if any says something else than the model."""
    cdef size_t cuts[CUTS_LIMIT]
    cdef size_t count, i, j, cut
    cdef uint16_t suite
    cdef bint client, moves
    if size == 0:
        return 0
    count = data[0] >> 5
    if data[0] & EXPORT:
        return read_export(data + 1, size - 1)
    if size < 1 + 2 * count:
        return 0
    client, moves = data[0] & CLIENT, data[0] & MOVES
    suite = 0x1301 + (data[0] >> 1 & 3) % 3
    start(suite, data, size)
    play(data + 1 + 2 * count, data + size)
    model(client)
    for i in range(count):
        # in ascending order
        cut = (data[1 + 2 * i] << 8 | data[2 + 2 * i]) % (stream_length + 1)
        j = i
        while j > 0 and cuts[j - 1] > cut:
            cuts[j] = cuts[j - 1]
            j -= 1
        cuts[j] = cut
    read(suite, client, cuts, 0, False, OPEN_ROOM)
    read(suite, client, cuts, count, moves, OPEN_ROOM)
    if stream_length <= (SAMPLE_LIMIT if thorough else SINGLE_LIMIT):
        read(suite, client, SINGLE, stream_length, moves and stream_length <= MOVE_LIMIT, OPEN_ROOM)
    return 0


include "entry.pxi"
