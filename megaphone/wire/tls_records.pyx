"""The TLS 1.3 record layer: one connection after its handshake, without libssl.

    | 23 | 3 3 | length, 2 | content … | type | zeros … | tag, 16 |        one record (RFC 8446 section 5.2)
                           └──────── encrypted ─────────┘

Theory of operation. When the handshake is done, a secret, a key, an IV and a sequence number in each direction are all that
a connection needs; they are the Records, and nothing else is kept while a connection is idle. Whole records are decrypted
from where they were received to where they are read. Only the beginning of a record whose end has not come yet is copied,
into `partial`, which grows with what has really come, never beyond one record, and is freed when the record is whole.

What the peer may say besides data, and the answer (sections 4.6, 5 and 6):

    KeyUpdate               its keys change with the next record; if it asks for ours, ours change before our next data
    NewSessionTicket        ignored by a client
    close_notify            PEER_CLOSED, and all behind it is ignored
    user_canceled           ignored: a close_notify follows
    another alert           BROKEN without a word
    what is not in order    BROKEN, and records_close says the alert that section 6.2 has for it

A handshake message may be split or share its record with others, but a KeyUpdate ends its record. Messages are not kept:
of one that is split, only its header is. Records without data that follow each other are counted, so that nobody makes us
derive keys without end (SILENT_LIMIT, unexpected_message); answers to KeyUpdates wait for data, so they need no memory.

Before a key has protected REKEY_RECORDS records it is changed, far below the limits of section 5.5.
"""

from libc.stdlib cimport calloc, free, malloc, realloc
from libc.string cimport memcpy, memset

from megaphone.wire.libcrypto cimport OPENSSL_cleanse
from megaphone.wire.tls_contexts cimport FAILED, FORGED, HEADER_BYTES, Verdict, forget_context, protect, unprotect
from megaphone.wire.tls_keys cimport SECRET_BYTES, TAG_BYTES, derive_keys, is_suite, secret_bytes, update_keys

cdef enum ContentType:
    ALERT = 21
    HANDSHAKE = 22
    APPLICATION_DATA = 23

cdef enum HandshakeType:
    NEW_SESSION_TICKET = 4
    KEY_UPDATE = 24

cdef enum AlertDescription:
    CLOSE_NOTIFY = 0
    UNEXPECTED_MESSAGE = 10
    BAD_RECORD_MAC = 20
    RECORD_OVERFLOW = 22
    ILLEGAL_PARAMETER = 47
    DECODE_ERROR = 50
    INTERNAL_ERROR = 80
    USER_CANCELED = 90

cdef enum Flag:
    IS_CLIENT = 1
    OWES_UPDATE = 2         # the peer wants us to change our keys
    ASKED_UPDATE = 4        # we wait for the peer to change its keys
    HEARD_CLOSE = 8
    IS_BROKEN = 16
    HEARD_ALERT = 32        # `alert` is the peer's
    SAID_LAST = 64

cdef enum:
    ENVELOPE_BYTES = HEADER_BYTES + 1 + TAG_BYTES           # of a record besides its content
    FRAGMENT_LIMIT = PLAINTEXT_LIMIT + 1 + TAG_BYTES        # length in a header: the inner plaintext has 2^14 + 1 at most (section 5.4)
    UPDATE_BYTES = ENVELOPE_BYTES + 5
    SILENT_LIMIT = 32
    REKEY_RECORDS = 1 << 24

# --- life ---


cdef Records* records_new(
    uint16_t suite, const uint8_t* incoming_secret, const uint8_t* outgoing_secret,
    uint64_t incoming_sequence, uint64_t outgoing_sequence, bint is_client,
) noexcept:
    cdef Records* records
    if not is_suite(suite):
        return NULL
    records = <Records*> calloc(1, sizeof(Records))
    if records == NULL:
        return NULL
    records.suite = suite
    records.flags = IS_CLIENT if is_client else 0
    memcpy(records.incoming.secret, incoming_secret, secret_bytes(suite))
    memcpy(records.outgoing.secret, outgoing_secret, secret_bytes(suite))
    if not derive_keys(suite, &records.incoming) or not derive_keys(suite, &records.outgoing):
        records_free(records)
        return NULL
    records.incoming.sequence = incoming_sequence
    records.outgoing.sequence = outgoing_sequence
    return records


cdef void records_free(Records* records) noexcept:
    if records == NULL:
        return
    forget_context(records.suite, &records.incoming)
    forget_context(records.suite, &records.outgoing)
    free(records.partial)
    OPENSSL_cleanse(records, sizeof(Records))
    free(records)

# --- ends ---


cdef void refuse(Records* records, uint8_t alert) noexcept:
    """Nothing more is read; `alert` is what we will say."""
    records.flags |= IS_BROKEN
    records.alert = alert
    records.changes += 1


cdef int records_alert(const Records* records) noexcept:
    if records.flags & HEARD_ALERT:
        return records.alert + 256
    return records.alert if records.flags & IS_BROKEN else -1


cdef bint records_closed(const Records* records) noexcept:
    return records.flags & SAID_LAST != 0


cdef void records_close(Records* records, Output* output) noexcept:
    cdef uint8_t alert[2]
    if records.flags & SAID_LAST:
        return
    records.flags |= SAID_LAST
    records.changes += 1
    if records.flags & HEARD_ALERT:
        return
    alert[0] = 2 if records.flags & IS_BROKEN else 1        # fatal, warning
    alert[1] = records.alert if records.flags & IS_BROKEN else CLOSE_NOTIFY
    put_record(records, ALERT, alert, 2, output)

# --- sealing ---


cdef inline bint finish_record(Records* records, uint8_t type, size_t length, Output* output) noexcept:
    """Protects the content of `length` bytes that lies at its place in the output already."""
    cdef uint8_t* record = output.data + output.length
    record[0] = APPLICATION_DATA
    record[1] = record[2] = 3
    record[3] = <uint8_t> ((length + 1 + TAG_BYTES) >> 8)
    record[4] = <uint8_t> (length + 1 + TAG_BYTES)
    record[HEADER_BYTES + length] = type
    if not protect(records.suite, &records.outgoing, record, length + 1):
        refuse(records, INTERNAL_ERROR)
        return False
    records.outgoing.sequence += 1
    records.changes += 1
    output.length += length + ENVELOPE_BYTES
    return True


cdef bint put_record(Records* records, uint8_t type, const uint8_t* content, size_t length, Output* output) noexcept:
    if output.room - output.length < length + ENVELOPE_BYTES:
        return False
    memcpy(output.data + output.length + HEADER_BYTES, content, length)
    return finish_record(records, type, length, output)


cdef inline bint needs_update(const Records* records) noexcept:
    """Whether a KeyUpdate is due: owed, or one of the keys has been used enough."""
    if records.outgoing.sequence >= REKEY_RECORDS or records.flags & OWES_UPDATE:
        return True
    return records.incoming.sequence >= REKEY_RECORDS and not records.flags & ASKED_UPDATE


cdef bint records_update(Records* records, bint requested, Output* output) noexcept:
    cdef uint8_t message[5]
    if records.flags & (IS_BROKEN | SAID_LAST):
        return False
    memset(message, 0, 5)
    message[0] = KEY_UPDATE
    message[3] = 1
    message[4] = requested
    if not put_record(records, HANDSHAKE, message, 5, output):
        return False
    forget_context(records.suite, &records.outgoing)
    if not update_keys(records.suite, &records.outgoing):
        refuse(records, INTERNAL_ERROR)
        return False
    records.flags &= ~OWES_UPDATE
    if requested:
        records.flags |= ASKED_UPDATE
    return True


cdef Py_ssize_t records_seal(Records* records, const iovec* regions, int count, Output* output) noexcept:
    cdef size_t length = 0, taken, size
    cdef bint update
    cdef uint8_t* content
    cdef int i
    if records.flags & (IS_BROKEN | SAID_LAST):
        return BROKEN
    for i in range(count):
        length += regions[i].iov_len
        if length >= PLAINTEXT_LIMIT:
            length = PLAINTEXT_LIMIT
            break
    update = needs_update(records)
    if length == 0 or output.room - output.length < length + ENVELOPE_BYTES + (UPDATE_BYTES if update else 0):
        return 0
    if update and not records_update(records, records.incoming.sequence >= REKEY_RECORDS and not records.flags & ASKED_UPDATE, output):
        return BROKEN
    content = output.data + output.length + HEADER_BYTES
    taken = 0
    for i in range(count):
        size = regions[i].iov_len
        if size > length - taken:
            size = length - taken
        if size:
            memcpy(content + taken, regions[i].iov_base, size)
            taken += size
    return <Py_ssize_t> length if finish_record(records, APPLICATION_DATA, length, output) else BROKEN

# --- opening ---


cdef inline size_t record_size(Records* records, const uint8_t* record, size_t length) noexcept:
    """Bytes that the record has, or its header if that is not whole; 0 if the header is refused."""
    cdef size_t fragment
    if length < HEADER_BYTES:
        return HEADER_BYTES
    fragment = record[3] << 8 | record[4]
    if record[0] != APPLICATION_DATA:       # in clear: none is legal any more, neither alerts nor ChangeCipherSpec (section 5)
        refuse(records, UNEXPECTED_MESSAGE)
    elif fragment > FRAGMENT_LIMIT:
        refuse(records, RECORD_OVERFLOW)
    elif fragment < TAG_BYTES:
        refuse(records, BAD_RECORD_MAC)
    else:
        return HEADER_BYTES + fragment
    return 0


cdef bint collect(Records* records, Input* input) noexcept:
    """Takes from the input for a record that is not whole; whether it is now."""
    cdef size_t size, taken
    cdef uint8_t* partial
    while True:
        size = record_size(records, records.partial, records.partial_length)
        if size == records.partial_length and size > HEADER_BYTES:
            return True
        taken = size - records.partial_length if size else 0
        if taken > input.length:
            taken = input.length
        if taken == 0:
            return False
        partial = <uint8_t*> realloc(records.partial, records.partial_length + taken)
        if partial == NULL:
            refuse(records, INTERNAL_ERROR)
            return False
        memcpy(partial + records.partial_length, input.data, taken)
        records.partial = partial
        records.partial_length += <uint16_t> taken
        records.changes += 1
        input.data += taken
        input.length -= taken


cdef inline void forget_partial(Records* records) noexcept:
    free(records.partial)
    records.partial = NULL
    records.partial_length = 0


cdef void take_update(Records* records, uint8_t requested) noexcept:
    """The peer's KeyUpdate (section 4.6.3)."""
    if requested > 1:
        refuse(records, ILLEGAL_PARAMETER)
        return
    if requested:
        records.flags |= OWES_UPDATE
    records.flags &= ~ASKED_UPDATE
    forget_context(records.suite, &records.incoming)
    if not update_keys(records.suite, &records.incoming):
        refuse(records, INTERNAL_ERROR)


cdef void take_handshake(Records* records, const uint8_t* content, size_t length) noexcept:
    """What a record has of handshake messages."""
    cdef uint8_t* header = records.handshake
    cdef size_t rest, taken
    while length and not records.flags & IS_BROKEN:
        taken = 4 - records.handshake_length
        if taken > length:
            taken = length
        memcpy(header + records.handshake_length, content, taken)
        records.handshake_length += <uint8_t> taken
        content += taken
        length -= taken
        if header[0] != KEY_UPDATE and not (header[0] == NEW_SESSION_TICKET and records.flags & IS_CLIENT):
            refuse(records, UNEXPECTED_MESSAGE)
            return
        if records.handshake_length < 4:
            return
        rest = header[1] << 16 | header[2] << 8 | header[3]
        taken = length if length < rest else rest
        length -= taken
        if header[0] == KEY_UPDATE:
            if rest != 1:
                refuse(records, DECODE_ERROR)
            elif length:
                refuse(records, UNEXPECTED_MESSAGE)     # under the old keys (section 5.1)
            elif taken:
                records.handshake_length = 0
                take_update(records, content[0])
            return
        content += taken
        rest -= taken
        header[1], header[2], header[3] = <uint8_t> (rest >> 16), <uint8_t> (rest >> 8), <uint8_t> rest
        if rest:
            return
        records.handshake_length = 0


cdef void take_alert(Records* records, const uint8_t* content, size_t length) noexcept:
    """Its level means nothing in TLS 1.3 (section 6)."""
    if length != 2:
        refuse(records, DECODE_ERROR)
    elif content[1] == CLOSE_NOTIFY:
        records.flags |= HEARD_CLOSE
    elif content[1] != USER_CANCELED:
        refuse(records, content[1])
        records.flags |= HEARD_ALERT


cdef inline size_t take_record(Records* records, const uint8_t* record, size_t size, uint8_t* into) noexcept:
    """Opens a whole record; returns the bytes of application data that are in `into` then."""
    cdef size_t length = size - HEADER_BYTES - TAG_BYTES
    cdef Verdict verdict = unprotect(records.suite, &records.incoming, record, length, into)
    records.changes += 1
    if verdict == FORGED or verdict == FAILED:
        refuse(records, BAD_RECORD_MAC if verdict == FORGED else INTERNAL_ERROR)
        return 0
    records.incoming.sequence += 1
    while length and into[length - 1] == 0:
        length -= 1
    if length == 0:
        refuse(records, UNEXPECTED_MESSAGE)     # nothing but padding (section 5.4)
        return 0
    length -= 1
    if into[length] == APPLICATION_DATA and not records.handshake_length and length:
        records.silent = 0
        return length
    records.silent += 1
    if records.silent > SILENT_LIMIT:
        refuse(records, UNEXPECTED_MESSAGE)
    elif into[length] == ALERT and length:
        take_alert(records, into, length)
    elif into[length] == HANDSHAKE and length:
        take_handshake(records, into, length)
    elif into[length] != APPLICATION_DATA or records.handshake_length:
        refuse(records, UNEXPECTED_MESSAGE)     # unknown, empty, or between the parts of a handshake message (section 5.1)
    return 0


cdef Py_ssize_t records_open(Records* records, Input* input, uint8_t* into, size_t room) noexcept:
    cdef size_t done = 0, size
    while not records.flags & (HEARD_CLOSE | IS_BROKEN):
        size = 0
        if records.partial == NULL and input.length >= HEADER_BYTES:
            size = record_size(records, input.data, input.length)
            if size == 0:
                break
        if 0 < size <= input.length:
            if size - HEADER_BYTES - TAG_BYTES > room - done:
                return done
            done += take_record(records, input.data, size, into + done)
            input.data += size
            input.length -= size
        elif collect(records, input):
            if <size_t> records.partial_length - HEADER_BYTES - TAG_BYTES > room - done:
                return done
            done += take_record(records, records.partial, records.partial_length, into + done)
            forget_partial(records)
        elif not records.flags & IS_BROKEN:
            return done
    if done:
        return done
    forget_partial(records)
    input.data += input.length
    input.length = 0
    return BROKEN if records.flags & IS_BROKEN else PEER_CLOSED


include "tls_export.pxi"
