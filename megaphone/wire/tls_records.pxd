# Outline of the TLS 1.3 record layer: one connection after its handshake, in 232 bytes.
#
#   records = records_new(…)                                    once, when the handshake is done
#   records_open(records, &input, into, room)    until 0        whenever ciphertext has come
#   records_seal(records, regions, count, &output)              whenever there is something to say
#   records_close(records, &output)                             after PEER_CLOSED, BROKEN, or when we are done
#   records_free(records)
#
# For one thread. Nothing here raises or needs the GIL's protection; no call keeps a pointer to what it was given.
from libc.stdint cimport uint8_t, uint16_t, uint32_t, uint64_t
from posix.uio cimport iovec

from megaphone.wire.tls_keys cimport AES_128_GCM_SHA256, AES_256_GCM_SHA384, CHACHA20_POLY1305_SHA256, Direction, Suite

cdef enum:
    PLAINTEXT_LIMIT = 16384         # application data in one record (RFC 8446 section 5.1)
    OPEN_ROOM = 16385               # room that records_open needs for any record: its content and the content's type
    SEAL_ROOM = 16433               # room that records_seal needs for any record: a KeyUpdate, header, content, type, tag
    CLOSE_ROOM = 24                 # room that records_close needs
    EXPORT_LIMIT = 16640            # bytes of the longest export

cdef enum:                          # what records_open and records_seal return besides a number of bytes
    PEER_CLOSED = -1                # close_notify: the peer says no more; we still may
    BROKEN = -2                     # the connection is to be ended; records_close says the alert, `records_alert` which one it is

# Ciphertext that has come. `data` and `length` move on as it is taken.
cdef struct Input:
    const uint8_t* data
    size_t length

# Where ciphertext to be sent is put: behind `length`, up to `room` bytes in all. The caller sets length back to 0.
cdef struct Output:
    uint8_t* data
    size_t length
    size_t room

cdef struct Records:
    Direction incoming
    Direction outgoing
    uint8_t* partial                # the beginning of a record that is not whole yet, with its header; usually NULL
    uint32_t changes                # goes up with whatever changes the export (wraps around)
    uint16_t suite
    uint16_t partial_length         # bytes in `partial`, at most 16405
    uint8_t handshake[4]            # header of a handshake message that is not whole yet, its length counting down
    uint8_t handshake_length        # bytes in `handshake`
    uint8_t silent                  # records since the last application data
    uint8_t flags
    uint8_t alert                   # description: what we say as our last word, or what the peer has said

# `suite` is the IANA number (SSL_CIPHER_get_protocol_id); the secrets are CLIENT_TRAFFIC_SECRET_0 and SERVER_TRAFFIC_SECRET_0
# of the key log, 32 or 48 bytes; a sequence is the number of records already protected with the key made from its secret
# (outgoing of a server: its tickets). NULL: another suite, or no memory.
cdef Records* records_new(
    uint16_t suite, const uint8_t* incoming_secret, const uint8_t* outgoing_secret,
    uint64_t incoming_sequence, uint64_t outgoing_sequence, bint is_client,
) noexcept

# Wipes and frees; NULL is allowed.
cdef void records_free(Records* records) noexcept

# Takes from the input and puts the plaintext of as many whole records as there are and `room` (at least OPEN_ROOM) has
# space for into `into`; the rest is left in the input for the next call. Returns how many bytes; 0: all of the input is
# taken, more is wanted; PEER_CLOSED; BROKEN. What came before an end is returned first, the end by the next call and by
# each that follows. `into` must not overlap the input. Bytes of `into` behind the plaintext are overwritten, too.
cdef Py_ssize_t records_open(Records* records, Input* input, uint8_t* into, size_t room) noexcept

# Puts one record into the output, with up to PLAINTEXT_LIMIT bytes gathered from the regions in their order; returns how many
# were taken; 0: the output has no room for that, or there are no bytes; BROKEN, also after records_close. A KeyUpdate
# that we owe or want goes ahead of it: an answer to the peer's request needs no call.
cdef Py_ssize_t records_seal(Records* records, const iovec* regions, int count, Output* output) noexcept

# Puts a KeyUpdate into the output at once; `requested`: the peer shall change its keys, too. False: no room, or it is over.
cdef bint records_update(Records* records, bint requested, Output* output) noexcept

# Puts our last word into the output, once: the alert if the connection is BROKEN (none for a peer that said one), else
# close_notify. Without CLOSE_ROOM nothing is said.
cdef void records_close(Records* records, Output* output) noexcept
cdef bint records_closed(const Records* records) noexcept           # whether it was said

# The description of the fatal alert that we (have to) say; after an alert of the peer that one + 256; -1: neither.
cdef int records_alert(const Records* records) noexcept

# The state as bytes of version 1, for another process: secret, never to be written anywhere. Returns their number, at most
# EXPORT_LIMIT; 0: `room` is too small. Whoever gave `into` wipes it.
cdef size_t records_export(const Records* records, uint8_t* into, size_t room) noexcept

# A copy of what was exported; NULL: another version, not the bytes of an export, or no memory.
cdef Records* records_import(const uint8_t* data, size_t length) noexcept
