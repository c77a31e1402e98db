"""Rateless invertible Bloom lookup tables: what two sets of ids differ in, from a few symbols more than differences.

Yang, Gilad, Alizadeh, "Practical Rateless Set Reconciliation" (SIGCOMM 2024). An element is the first 8 bytes of an id;
its checksum is SipHash-2-4 with a key that the encoder chose, so that nobody finds ids beforehand that spoil the table.
Symbol i is the sum of those elements that are mapped to it: all for i = 0, about two in i + 2 of all for larger ones.
There is no end to the symbols: the encoder says more of them until the decoder, which takes its own set's symbols from
them, has found all that is left in them. 1.35 to 1.7 symbols for each difference are enough.

    symbol:   elements, xor │ checksums, xor │ how many, less the expected number 2n / (i + 2), zigzag LEB128
                    8               8                                    1 to 10
"""

from cpython.bytes cimport PyBytes_AS_STRING, PyBytes_Check, PyBytes_FromStringAndSize, PyBytes_GET_SIZE
from libc.math cimport ceil, sqrt
from libc.stdint cimport int64_t, uint8_t, uint32_t, uint64_t
from libc.stdlib cimport calloc, free, realloc

cdef enum:
    ELEMENT_BYTES = 8
    KEY_BYTES = 16
    FIXED_BYTES = 16            # of a symbol
    NUMBER_BYTES = 10           # of its count, at most
    FEWEST = 1024               # elements that room is made for
    MOST_SYMBOLS = 1 << 20
    NEVER = 0x7FFFFFFF          # an index that no table reaches

cdef struct Symbol:
    uint64_t sum
    uint64_t check
    int64_t count

# An element and its way through the table: `next` is the first symbol it is in that has not been made.
cdef struct Element:
    uint64_t value
    uint64_t check
    uint64_t state
    uint32_t next
    int sign


cdef inline uint64_t load(const uint8_t* at) noexcept nogil:
    """The number that 8 bytes are, the lowest first."""
    cdef uint64_t value = 0
    cdef int index
    for index in range(8):
        value |= <uint64_t> at[index] << (8 * index)
    return value


cdef inline void store(uint8_t* at, uint64_t value) noexcept nogil:
    cdef int index
    for index in range(8):
        at[index] = <uint8_t> (value >> (8 * index))


cdef inline uint64_t rotated(uint64_t value, int bits) noexcept nogil:
    return value << bits | value >> (64 - bits)


cdef inline void mix(uint64_t* v, int rounds) noexcept nogil:
    cdef int index
    for index in range(rounds):
        v[0] += v[1]
        v[1] = rotated(v[1], 13) ^ v[0]
        v[0] = rotated(v[0], 32)
        v[2] += v[3]
        v[3] = rotated(v[3], 16) ^ v[2]
        v[0] += v[3]
        v[3] = rotated(v[3], 21) ^ v[0]
        v[2] += v[1]
        v[1] = rotated(v[1], 17) ^ v[2]
        v[2] = rotated(v[2], 32)


cdef uint64_t checksum(const uint64_t* key, uint64_t element) noexcept nogil:
    """SipHash-2-4 (Aumasson, Bernstein, 2012) of 8 bytes."""
    cdef uint64_t[4] v
    v[0] = key[0] ^ <uint64_t> 0x736F6D6570736575u
    v[1] = key[1] ^ <uint64_t> 0x646F72616E646F6Du
    v[2] = key[0] ^ <uint64_t> 0x6C7967656E657261u
    v[3] = key[1] ^ <uint64_t> 0x7465646279746573u
    v[3] ^= element
    mix(v, 2)
    v[0] ^= element
    v[3] ^= <uint64_t> ELEMENT_BYTES << 56
    mix(v, 2)
    v[0] ^= <uint64_t> ELEMENT_BYTES << 56
    v[2] ^= 0xFF
    mix(v, 4)
    return v[0] ^ v[1] ^ v[2] ^ v[3]


cdef inline void step(Element* element) noexcept nogil:
    """To the next symbol that an element is in: a gap after i has the odds that make the density two in i + 2."""
    cdef double gap
    element.state *= <uint64_t> 0xDA942042E4DD58B5u
    gap = ceil((<double> element.next + 1.5) * (4294967296.0 / sqrt(<double> element.state + 1.0) - 1.0))
    if gap < 1.0:
        gap = 1.0
    element.next = <uint32_t> (element.next + gap) if gap < NEVER - <double> element.next else NEVER


cdef inline void toggle(Symbol* symbol, const Element* element, int sign) noexcept nogil:
    symbol.sum ^= element.value
    symbol.check ^= element.check
    symbol.count += sign


cdef inline int64_t expected(uint64_t size, uint64_t index) noexcept nogil:
    return <int64_t> (2 * size // (index + 2))


cdef class Encoder:
    """The symbols of a set, in order."""

    cdef uint64_t[2] key
    cdef Element* elements
    cdef Py_ssize_t room
    cdef readonly Py_ssize_t size       # elements
    cdef readonly Py_ssize_t made       # symbols

    def __cinit__(self, ids, bytes key not None, int sample=0):
        cdef uint64_t value, mask
        cdef const uint8_t* bytes_
        if PyBytes_GET_SIZE(key) != KEY_BYTES or not 0 <= sample <= 32:
            raise ValueError("a key of 16 bytes, and a sample of 0 to 32 bits")
        mask = (<uint64_t> 1 << sample) - 1
        bytes_ = <const uint8_t*> PyBytes_AS_STRING(key)
        self.key[0], self.key[1] = load(bytes_), load(bytes_ + 8)
        for id_ in ids:
            if not PyBytes_Check(id_) or PyBytes_GET_SIZE(id_) < ELEMENT_BYTES:
                raise ValueError("an id of at least 8 bytes")
            value = load(<const uint8_t*> PyBytes_AS_STRING(id_))
            if value & mask:
                continue
            if self.size == self.room:
                self.grow()
            self.elements[self.size].value = value
            self.elements[self.size].check = self.elements[self.size].state = checksum(self.key, value)
            self.elements[self.size].next = 0
            self.size += 1

    def __dealloc__(self):
        free(self.elements)

    cdef int grow(self) except -1:
        cdef Py_ssize_t room = max(FEWEST, self.room * 2)
        cdef Element* elements = <Element*> realloc(self.elements, room * sizeof(Element))
        if elements == NULL:
            raise MemoryError
        self.elements, self.room = elements, room
        return 0

    cdef void make(self, Symbol* symbols, Py_ssize_t count) noexcept nogil:
        """Adds what is in the next `count` symbols to them."""
        cdef Py_ssize_t index, until = self.made + count
        cdef Element* element
        for index in range(self.size):
            element = &self.elements[index]
            while element.next < until:
                toggle(&symbols[element.next - self.made], element, 1)
                step(element)
        self.made = until

    def next(self, Py_ssize_t count):
        """The next `count` symbols, as bytes."""
        cdef Symbol* symbols
        cdef Py_ssize_t index, first = self.made
        cdef uint8_t* at
        cdef uint64_t number
        cdef int64_t surplus
        cdef bytes out
        if not 0 < count <= MOST_SYMBOLS - first:
            raise ValueError("so many symbols are not made")
        symbols = <Symbol*> calloc(count, sizeof(Symbol))
        if symbols == NULL:
            raise MemoryError
        try:
            with nogil:
                self.make(symbols, count)
            out = PyBytes_FromStringAndSize(NULL, count * (FIXED_BYTES + NUMBER_BYTES))
            at = <uint8_t*> PyBytes_AS_STRING(out)
            for index in range(count):
                store(at, symbols[index].sum)
                store(at + 8, symbols[index].check)
                at += FIXED_BYTES
                surplus = symbols[index].count - expected(self.size, first + index)
                number = <uint64_t> surplus << 1 ^ <uint64_t> (surplus >> 63)
                while number >= 128:
                    at[0] = number & 127 | 128
                    at += 1
                    number >>= 7
                at[0] = <uint8_t> number
                at += 1
            return out[: at - <uint8_t*> PyBytes_AS_STRING(out)]
        finally:
            free(symbols)


cdef class Decoder:
    """What another set differs in from this one, as its symbols come."""

    cdef Encoder own
    cdef uint64_t size                  # of the other set
    cdef Symbol* symbols                # theirs without ours and without what has been found
    cdef Element* found
    cdef uint32_t* waiting              # symbols to look at
    cdef uint8_t* waits
    cdef Py_ssize_t room                # of all four
    cdef Py_ssize_t found_count
    cdef Py_ssize_t waiting_count
    cdef readonly Py_ssize_t most

    def __cinit__(self, ids, bytes key not None, uint64_t size, int sample=0, Py_ssize_t most=MOST_SYMBOLS):
        if not 0 < most <= MOST_SYMBOLS or size >> 62:
            raise ValueError("at most 2^20 symbols of at most 2^62 elements")
        self.own = Encoder(ids, key, sample)
        self.size = size
        self.most = most

    def __dealloc__(self):
        free(self.symbols)
        free(self.found)
        free(self.waiting)
        free(self.waits)

    cdef int grow(self, Py_ssize_t room) except -1:
        cdef void* block
        block = realloc(self.symbols, room * sizeof(Symbol))
        if block == NULL:
            raise MemoryError
        self.symbols = <Symbol*> block
        block = realloc(self.found, room * sizeof(Element))
        if block == NULL:
            raise MemoryError
        self.found = <Element*> block
        block = realloc(self.waiting, room * sizeof(uint32_t))
        if block == NULL:
            raise MemoryError
        self.waiting = <uint32_t*> block
        block = realloc(self.waits, room)
        if block == NULL:
            raise MemoryError
        self.waits = <uint8_t*> block
        self.room = room
        return 0

    @property
    def symbols_read(self):
        """How many symbols have come."""
        return self.own.made

    @property
    def is_complete(self):
        """Whether all differences have been found: nothing is left in the symbol that every element is in."""
        return self.own.made > 0 and not (self.symbols[0].sum or self.symbols[0].check or self.symbols[0].count)

    def feed(self, bytes data not None):
        """Reads the next symbols, at least one; ValueError if they are none, or too many, or are not those of any set."""
        cdef const uint8_t* at = <const uint8_t*> PyBytes_AS_STRING(data)
        cdef const uint8_t* end = at + PyBytes_GET_SIZE(data)
        cdef Py_ssize_t first = self.own.made, until = first, index
        cdef uint64_t number
        cdef int shift
        cdef Element* element
        if at == end:
            raise ValueError("no symbol")
        while at < end:
            if until == self.most:
                raise ValueError("too many symbols")
            if until == self.room:
                self.grow(min(self.most, max(FEWEST, 2 * self.room)))
            if end - at <= FIXED_BYTES:
                raise ValueError("a symbol that breaks off")
            self.waits[until] = 0
            self.symbols[until].sum = load(at)
            self.symbols[until].check = load(at + 8)
            at += FIXED_BYTES
            number = 0
            shift = 0
            while True:
                if at == end or shift > 56:
                    raise ValueError("a count that breaks off or is too long")
                number |= <uint64_t> (at[0] & 127) << shift
                at += 1
                if at[-1] < 128:
                    if at[-1] == 0 and shift:
                        raise ValueError("a count that is longer than it must be")
                    break
                shift += 7
            self.symbols[until].count = -(
                <int64_t> (number >> 1 ^ -(number & 1)) + expected(self.size, until)
            )
            until += 1
        # ours are added to theirs negated: what is only there counts -1, what is only here 1
        self.own.make(&self.symbols[first], until - first)
        for index in range(self.found_count):
            element = &self.found[index]
            while element.next < until:
                toggle(&self.symbols[element.next], element, -element.sign)
                step(element)
        for index in range(first, until):
            self.look_at(index)
        self.peel()

    cdef inline void look_at(self, Py_ssize_t index) noexcept:
        """Has a symbol looked at in which there may be one element alone."""
        cdef int64_t count = self.symbols[index].count
        if (count == 1 or count == -1) and not self.waits[index]:
            self.waits[index] = 1
            self.waiting[self.waiting_count] = <uint32_t> index
            self.waiting_count += 1

    cdef int peel(self) except -1:
        """Takes the elements that are alone in a symbol out of all others, until there are none."""
        cdef Symbol symbol
        cdef Element* element
        cdef Py_ssize_t until = self.own.made
        while self.waiting_count:
            self.waiting_count -= 1
            self.waits[self.waiting[self.waiting_count]] = 0
            symbol = self.symbols[self.waiting[self.waiting_count]]
            if symbol.count != 1 and symbol.count != -1 or checksum(self.own.key, symbol.sum) != symbol.check:
                continue
            if self.found_count == until:
                raise ValueError("more elements than symbols")
            element = &self.found[self.found_count]
            self.found_count += 1
            element.value, element.check, element.state = symbol.sum, symbol.check, symbol.check
            element.next = 0
            element.sign = <int> symbol.count
            while element.next < until:
                toggle(&self.symbols[element.next], element, -element.sign)
                self.look_at(element.next)
                step(element)
        return 0

    def differences(self):
        """What has been found: elements that only the other set has, and those that only this one has, 8 bytes each."""
        cdef Py_ssize_t index
        cdef uint8_t[8] buffer
        cdef list theirs = [], ours = []
        for index in range(self.found_count):
            store(buffer, self.found[index].value)
            (theirs if self.found[index].sign < 0 else ours).append(PyBytes_FromStringAndSize(<char*> buffer, 8))
        return theirs, ours
