# Export and import: the Records as bytes for another process, included by tls_records.pyx.
#
#     | version, 1 | flags, 1 | suite, 2 | silent, 1 | alert, 1 | handshake length, 1 | handshake, 4 | 0, 1 | partial length, 2 | 0, 2 |
#     | incoming: secret, 48 | key, 32 | IV, 12 | sequence, 8 | outgoing: the same | partial record … |        all big-endian
#
# Keys and IVs follow from the secrets; they are there all the same, so that moving a connection derives nothing. Another layout,
# or another meaning of a flag, is another version.

cdef enum:
    EXPORT_VERSION = 1
    EXPORT_BYTES = 216      # without the partial record


cdef uint8_t* put_direction(uint8_t* at, const Direction* direction) noexcept:
    cdef int i
    memcpy(at, direction.secret, sizeof(direction.secret))
    memcpy(at + 48, direction.key, sizeof(direction.key))
    memcpy(at + 80, direction.iv, sizeof(direction.iv))
    for i in range(8):
        at[92 + i] = <uint8_t> (direction.sequence >> (56 - 8 * i))
    return at + 100


cdef const uint8_t* get_direction(const uint8_t* at, Direction* direction) noexcept:
    cdef int i
    memcpy(direction.secret, at, sizeof(direction.secret))
    memcpy(direction.key, at + 48, sizeof(direction.key))
    memcpy(direction.iv, at + 80, sizeof(direction.iv))
    for i in range(8):
        direction.sequence = direction.sequence << 8 | at[92 + i]
    return at + 100


cdef size_t records_export(const Records* records, uint8_t* into, size_t room) noexcept:
    cdef uint8_t* at
    if room < <size_t> EXPORT_BYTES + records.partial_length:
        return 0
    memset(into, 0, 16)
    into[0] = EXPORT_VERSION
    into[1] = records.flags
    into[2], into[3] = <uint8_t> (records.suite >> 8), <uint8_t> records.suite
    into[4] = records.silent
    into[5] = records.alert
    into[6] = records.handshake_length
    memcpy(into + 7, records.handshake, 4)
    into[12], into[13] = <uint8_t> (records.partial_length >> 8), <uint8_t> records.partial_length
    at = put_direction(put_direction(into + 16, &records.incoming), &records.outgoing)
    if records.partial_length:
        memcpy(at, records.partial, records.partial_length)
    return EXPORT_BYTES + records.partial_length


cdef Records* records_import(const uint8_t* data, size_t length) noexcept:
    cdef Records* records
    cdef uint16_t suite, partial_length
    cdef size_t size
    if length < EXPORT_BYTES or data[0] != EXPORT_VERSION:
        return NULL
    suite = <uint16_t> (data[2] << 8 | data[3])
    partial_length = <uint16_t> (data[12] << 8 | data[13])
    if not is_suite(suite) or data[1] >> 7 or data[4] > SILENT_LIMIT + 1 or data[6] > 4 or length != <size_t> EXPORT_BYTES + partial_length:
        return NULL
    records = <Records*> calloc(1, sizeof(Records))
    if records == NULL:
        return NULL
    records.suite = suite
    records.silent = data[4]
    records.alert = data[5]
    records.handshake_length = data[6]
    memcpy(records.handshake, data + 7, 4)
    get_direction(get_direction(data + 16, &records.incoming), &records.outgoing)
    if partial_length:
        size = record_size(records, data + EXPORT_BYTES, partial_length)
        if partial_length <= size:
            records.partial = <uint8_t*> malloc(partial_length)
        if records.partial == NULL:
            records_free(records)
            return NULL
        memcpy(records.partial, data + EXPORT_BYTES, partial_length)
        records.partial_length = partial_length
    records.flags = data[1]
    return records
