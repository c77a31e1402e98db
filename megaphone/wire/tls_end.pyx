"""One end of a TLS 1.3 connection behind its handshake, for Python: what tests and small tools drive the record layer with.

The data path uses tls_records itself.
"""

from cpython.bytes cimport PyBytes_FromStringAndSize
from libc.stdint cimport uint8_t, uint16_t, uint32_t, uint64_t
from libc.stdlib cimport free, malloc
from posix.uio cimport iovec

from megaphone.wire.libcrypto cimport OPENSSL_cleanse
from megaphone.wire.tls_contexts cimport CONTEXTS, forget_idle_contexts, keys_expanded
from megaphone.wire.tls_keys cimport Direction, is_suite, key_bytes, secret_bytes, suite_name
from megaphone.wire.tls_records cimport (
    BROKEN, CLOSE_ROOM, EXPORT_LIMIT, OPEN_ROOM, PEER_CLOSED, SEAL_ROOM,
    Input, Output, Records,
    records_alert, records_close, records_closed, records_export, records_free, records_import, records_new, records_open,
    records_seal, records_update,
)

cdef enum:
    REGIONS = 32

STATE_BYTES = sizeof(Records)
CONTEXTS_PER_SUITE = CONTEXTS

cdef uint8_t PLAIN[4 * OPEN_ROOM]
cdef uint8_t SEALED[4 * SEAL_ROOM]


cdef tuple keys_of(uint16_t suite, const Direction* direction):
    return (
        direction.secret[:secret_bytes(suite)], direction.key[:key_bytes(suite)], direction.iv[:12], direction.sequence
    )


cdef class TLSEnd:
    """A connection's records. `suite` is the IANA number; the secrets are application traffic secrets, 32 or 48 bytes.

    A sequence is the number of records that the secret's key has protected before. ValueError for another suite.
    """

    cdef Records* records

    def __cinit__(self, int suite, bytes incoming_secret, bytes outgoing_secret, *, uint64_t incoming_sequence=0,
                  uint64_t outgoing_sequence=0, bint is_client=False):
        if not 0 <= suite <= 0xFFFF or not is_suite(<uint16_t> suite):
            raise ValueError(f"no suite {suite:#x}")
        if {len(incoming_secret), len(outgoing_secret)} != {secret_bytes(<uint16_t> suite)}:
            raise ValueError(f"secrets have {secret_bytes(<uint16_t> suite)} bytes")
        self.records = records_new(<uint16_t> suite, incoming_secret, outgoing_secret, incoming_sequence, outgoing_sequence, is_client)
        if self.records == NULL:
            raise MemoryError

    def __dealloc__(self):
        records_free(self.records)

    def open(self, data, size_t room=OPEN_ROOM):
        """The plaintext of what has come, and how it ended: b"" and "closed" or "broken", or "" if it goes on.

        `room` (bytes) is that of each call of the record layer; from OPEN_ROOM to four times that.
        """
        cdef const uint8_t[::1] view = data
        cdef Input input
        cdef Py_ssize_t size
        if not OPEN_ROOM <= room <= sizeof(PLAIN):
            raise ValueError("room")
        input.data = &view[0] if len(view) else NULL
        input.length = len(view)
        plain = []
        while True:
            size = records_open(self.records, &input, PLAIN, room)
            if size <= 0:
                break
            plain.append(PyBytes_FromStringAndSize(<const char*> PLAIN, size))
        if input.length:
            raise AssertionError(f"{input.length} bytes are left")
        return b"".join(plain), "broken" if size == BROKEN else "closed" if size == PEER_CLOSED else ""

    def seal(self, *regions):
        """Records with the bytes of all regions (at most 32); ValueError once the connection has ended."""
        cdef iovec vectors[REGIONS]
        cdef const uint8_t[::1] view
        cdef Output output
        cdef Py_ssize_t taken
        cdef int count = 0, first = 0
        if len(regions) > REGIONS:
            raise ValueError("regions")
        for region in regions:
            view = region
            vectors[count].iov_base = <void*> &view[0] if len(view) else NULL
            vectors[count].iov_len = len(view)
            count += 1
        sealed = []
        output.data = SEALED
        output.room = sizeof(SEALED)
        while True:
            output.length = 0
            taken = records_seal(self.records, vectors + first, count - first, &output)
            if taken == BROKEN:
                raise ValueError("the connection has ended")
            if taken == 0:
                return b"".join(sealed)
            sealed.append(PyBytes_FromStringAndSize(<const char*> SEALED, output.length))
            while first < count and <size_t> taken >= vectors[first].iov_len:
                taken -= vectors[first].iov_len
                first += 1
            if taken:
                vectors[first].iov_base = <uint8_t*> vectors[first].iov_base + taken
                vectors[first].iov_len -= taken

    def seal_into(self, data, size_t room):
        """Tries one record in an output of `room` bytes: how many of the data's bytes were taken, and the record."""
        cdef const uint8_t[::1] view = data
        cdef iovec vector
        cdef Output output
        cdef Py_ssize_t taken
        vector.iov_base = <void*> &view[0] if len(view) else NULL
        vector.iov_len = len(view)
        output.data = <uint8_t*> malloc(room + 1)
        if output.data == NULL:
            raise MemoryError
        output.length, output.room = 0, room
        try:
            taken = records_seal(self.records, &vector, 1, &output)
            return taken, PyBytes_FromStringAndSize(<const char*> output.data, output.length)
        finally:
            free(output.data)

    def update(self, bint requested=False):
        """A KeyUpdate; `requested`: the peer shall change its keys, too. b"" once the connection has ended."""
        cdef Output output
        output.data, output.length, output.room = SEALED, 0, sizeof(SEALED)
        records_update(self.records, requested, &output)
        return PyBytes_FromStringAndSize(<const char*> SEALED, output.length)

    def close(self):
        """The last word, once: close_notify or the alert; b"" if there is none."""
        cdef Output output
        output.data, output.length, output.room = SEALED, 0, CLOSE_ROOM
        records_close(self.records, &output)
        return PyBytes_FromStringAndSize(<const char*> SEALED, output.length)

    def export(self):
        """The state as bytes."""
        cdef uint8_t into[EXPORT_LIMIT]
        cdef size_t length = records_export(self.records, into, EXPORT_LIMIT)
        exported = PyBytes_FromStringAndSize(<const char*> into, length)
        OPENSSL_cleanse(into, length)
        return exported

    @staticmethod
    def restore(bytes exported):
        """An end with the state that was exported; ValueError if these are not the bytes of an export."""
        cdef TLSEnd end
        cdef Records* records = records_import(exported, len(exported))
        if records == NULL:
            raise ValueError("not an export of this version")
        end = TLSEnd.__new__(TLSEnd, 0x1301, bytes(32), bytes(32))
        records_free(end.records)
        end.records = records
        return end

    @property
    def suite(self):
        """The suite's name."""
        return suite_name(self.records.suite).decode()

    @property
    def alert(self):
        """The description of the alert that ends the connection, + 256 if it is the peer's; -1 without one."""
        return records_alert(self.records)

    @property
    def closed(self):
        """Whether the last word was said."""
        return records_closed(self.records)

    @property
    def incoming(self):
        """Secret, key, IV and sequence of what comes."""
        return keys_of(self.records.suite, &self.records.incoming)

    @property
    def outgoing(self):
        """Secret, key, IV and sequence of what goes."""
        return keys_of(self.records.suite, &self.records.outgoing)

    @property
    def changes(self):
        """A number that changes whenever the export does."""
        return self.records.changes

    @property
    def partial_bytes(self):
        """Bytes kept of a record that is not whole."""
        return self.records.partial_length


def expansions():
    """How often a key had to be expanded, since the process began."""
    return keys_expanded()


def forget_idle(uint32_t now_ticks):
    """Wipes the contexts that were not used in a whole window; to be called with a clock of 1/16 s."""
    forget_idle_contexts(now_ticks)


def seal_in_turn(list ends, bytes data, int times):
    """Seals the data (at most a record of it) `times` times, by each end in its turn, without a Python call between."""
    pass_in_turn(ends, None, data, times)


def pass_in_turn(list ends, list peers, bytes data, int times):
    """As `seal_in_turn`, and the peer of each end opens what it has sealed. ValueError if that does not work."""
    cdef int count = len(ends), i
    cdef TLSEnd end
    cdef Records** sealers = <Records**> malloc(count * sizeof(Records*))
    cdef Records** openers = <Records**> malloc(count * sizeof(Records*))
    cdef Output output
    cdef Input input
    cdef iovec region
    cdef Py_ssize_t taken = 0
    cdef bint opens = peers is not None
    for i in range(count):
        end = ends[i]
        sealers[i] = end.records
        if opens:
            end = peers[i]
            openers[i] = end.records
    region.iov_base = <void*> <const char*> data
    region.iov_len = len(data)
    output.data, output.room = SEALED, sizeof(SEALED)
    for i in range(times):
        output.length = 0
        taken = records_seal(sealers[i % count], &region, 1, &output)
        if taken > 0 and opens:
            input.data, input.length = SEALED, output.length
            if records_open(openers[i % count], &input, PLAIN, OPEN_ROOM) != taken:
                taken = 0
        if taken <= 0:
            break
    free(sealers)
    free(openers)
    if taken <= 0:
        raise ValueError("a record was refused")
