# What is in scope while one read is scanned: open elements, namespace bindings, the start tag under way.
# One scratch area serves all connections; slices point into the read buffer, into CARRIED, or into a Memory (memory.pxi).

cdef enum:
    NAME_LIMIT = 255            # bytes of a name, and of a namespace name
    BINDINGS_LIMIT = 62         # prefixes bound at a time; with the two below as many as a uint64_t has bits
    XML_BINDING = 62            # what the prefix xml is always bound to
    ROOT_BINDING = 63           # the usual root's own prefix
    UNBOUND = -1
    ROOT_LIMIT = 16             # bytes of the stream element's name
    BUCKETS = 256               # of bound prefixes
    RECENT_LIMIT = 64           # bytes of namespace names that are recognised
    FEW_ATTRIBUTES = 8          # up to here comparing with each is faster than a table
    SLOTS = 512                 # of the table of attributes

cdef struct Slice:
    const uint8_t* data
    uint32_t length
    int prefix                  # of a name: bytes before the colon, 0 without one

cdef struct Binding:
    Slice prefix
    Slice name
    uint64_t hash               # of the name
    uint8_t depth               # of the element that declares it
    uint8_t bucket
    uint8_t older               # one more than the index of the binding that was the bucket's first before

cdef struct Attribute:
    Slice name
    uint64_t hash
    int binding                 # what its prefix is bound to: an index, XML_BINDING or ROOT_BINDING

cdef const char* XML_NAMESPACE = "http://www.w3.org/XML/1998/namespace"
cdef const char* XMLNS_NAMESPACE = "http://www.w3.org/2000/xmlns/"
cdef const char* STREAMS_NAMESPACE = "http://etherx.jabber.org/streams"
cdef Slice STREAMS
STREAMS.data = <const uint8_t*> STREAMS_NAMESPACE
STREAMS.length = 32

cdef Slice NAMES[256]           # of open elements; the first is the stream element
cdef Binding BINDINGS[BINDINGS_LIMIT]
cdef int binding_count = 0
cdef uint8_t BUCKET[BUCKETS]    # one more than the index of the newest binding in it
cdef uint8_t RECENT[RECENT_LIMIT][RECENT_LIMIT]     # by length
cdef bint IS_RECENT[RECENT_LIMIT]
cdef Slice tag                  # the name of the start tag under way
cdef Attribute ATTRIBUTES[256]  # of the start tag under way
cdef uint8_t SLOT[SLOTS]        # one more than the index of an attribute
cdef int slotted = 0            # attributes that are in the table
cdef uint8_t CARRIED[NAME_LIMIT]
cdef uint32_t carried = 0       # bytes of the token under way that came with earlier reads
cdef bint changed = False       # whether this read has changed what its Memory holds
cdef uint64_t KEY[2]
# Python's own protection against chosen collisions is good enough for ours
KEY[0] = <uint64_t> <Py_ssize_t> hash("names")
KEY[1] = <uint64_t> <Py_ssize_t> hash("keyed") | 1
cdef uint64_t STREAMS_HASH = hash_bytes(STREAMS.data, STREAMS.length, KEY)


cdef inline bint same(Slice* one, Slice* other) noexcept nogil:
    return one.length == other.length and memcmp(one.data, other.data, one.length) == 0


cdef inline bint is_text(Slice* slice, const char* text, size_t length) noexcept nogil:
    return slice.length == length and memcmp(slice.data, text, length) == 0


cdef int prefix_of(const uint8_t* data, size_t length) noexcept nogil:
    """Bytes before the colon, 0 without one; -1 if a part is empty or begins like no name, or there are two colons."""
    cdef const uint8_t* colon = <const uint8_t*> memchr(data, c':', length)
    cdef size_t after
    if colon == NULL:
        return 0
    after = data + length - colon - 1
    if colon == data or after == 0 or not CLASS[colon[1]] & NAME_START or memchr(colon + 1, c':', after) != NULL:
        return -1
    return <int> (colon - data)


cdef inline void join(Slice* token, const uint8_t* data, size_t length) noexcept nogil:
    """Makes one slice of a token that earlier reads may have begun; the caller has checked that it is not too long."""
    global carried
    if carried:
        memcpy(CARRIED + carried, data, length)
        token.data = CARRIED
        token.length = carried + <uint32_t> length
        carried = 0
    else:
        token.data = data
        token.length = <uint32_t> length


cdef inline bint join_name(Slice* name, const uint8_t* data, size_t length, uint8_t seen) noexcept nogil:
    """The same for a name; `seen` joins the classes of its bytes in this read. False if its colon is misplaced."""
    if carried:
        seen = COLON
    join(name, data, length)
    name.prefix = prefix_of(name.data, name.length) if seen & COLON else 0
    return name.prefix >= 0

# --- namespaces ---


cdef inline void bind(Binding* binding) noexcept nogil:
    """Puts a new binding, the last one, into its bucket."""
    global binding_count
    binding.hash = hash_bytes(binding.name.data, binding.name.length, KEY)
    binding.bucket = <uint8_t> hash_bytes(binding.prefix.data, binding.prefix.length, KEY)
    binding.older = BUCKET[binding.bucket]
    binding_count += 1
    BUCKET[binding.bucket] = binding_count


cdef inline void leave_scope(int depth) noexcept nogil:
    """Forgets the bindings of elements deeper than `depth`."""
    global binding_count
    while binding_count and BINDINGS[binding_count - 1].depth > depth:
        binding_count -= 1
        BUCKET[BINDINGS[binding_count].bucket] = BINDINGS[binding_count].older


cdef int resolve(Framer* framer, Slice* name) noexcept nogil:
    """What the prefix of a name is bound to."""
    cdef int i = BUCKET[<uint8_t> hash_bytes(name.data, name.prefix, KEY)]
    while i:
        if is_text(&BINDINGS[i - 1].prefix, <const char*> name.data, name.prefix):
            return i - 1
        i = BINDINGS[i - 1].older
    if name.prefix == 3 and memcmp(name.data, "xml", 3) == 0:
        return XML_BINDING
    if framer.usual_root and name.prefix == framer.root_length - 7 and memcmp(name.data, framer.root, name.prefix) == 0:
        return ROOT_BINDING
    return UNBOUND


cdef inline bint declares(Slice* attribute) noexcept nogil:
    """Whether the attribute is xmlns or xmlns:prefix."""
    if attribute.prefix == 0:
        return is_text(attribute, "xmlns", 5)
    return attribute.prefix == 5 and memcmp(attribute.data, "xmlns", 5) == 0


cdef inline bint is_recent(const uint8_t* name, size_t length) noexcept nogil:
    """Whether this was the last namespace name of its length that was found to be good for any prefix but xml."""
    return length < RECENT_LIMIT and IS_RECENT[length] and memcmp(name, RECENT[length], length) == 0


cdef uint8_t declare(Framer* framer, Slice* value, bint recent) noexcept nogil:
    """Takes the declaration that the last attribute is; an Error (Namespaces in XML 1.0 section 3).

    The default namespace is checked and forgotten: nothing is ever resolved to it. What `is_recent` need not be checked again.
    """
    global changed
    cdef Slice* attribute = &ATTRIBUTES[framer.attributes - 1].name
    cdef Binding* binding
    cdef bint xml_prefix = is_text(attribute, "xmlns:xml", 9)
    if xml_prefix or not recent:
        if is_text(value, XMLNS_NAMESPACE, 29) or is_text(value, XML_NAMESPACE, 36) != xml_prefix or not uri_is_good(value):
            return NOT_WELL_FORMED_XML
        if not xml_prefix and value.length < RECENT_LIMIT:
            memcpy(RECENT[value.length], value.data, value.length)
            IS_RECENT[value.length] = True
    if attribute.prefix == 0:
        return NO_ERROR
    if value.length == 0 or is_text(attribute, "xmlns:xmlns", 11):
        return NOT_WELL_FORMED_XML
    if binding_count == BINDINGS_LIMIT:
        return TOO_MANY_NAMESPACES
    binding = &BINDINGS[binding_count]
    binding.prefix.data = attribute.data + 6
    binding.prefix.length = attribute.length - 6
    binding.name = value[0]
    binding.depth = framer.depth + 1
    bind(binding)
    changed = True
    return NO_ERROR


cdef bint uri_is_good(Slice* name) noexcept nogil:
    """Whether a namespace name of URI_BYTEs, possibly empty, is a URI reference (RFC 3986 section 4.1).

    Stricter: an authority is a host name and perhaps a port, not a user nor an address in brackets.
    """
    cdef const uint8_t* at = name.data
    cdef const uint8_t* end = name.data + name.length
    cdef const uint8_t* begun
    cdef bint authority = True          # "//" would begin one here
    while at < end and CLASS[at[0]] & SCHEME_BYTE:
        at += 1
    if at < end and at[0] == c':':
        if at == name.data or not CLASS[name.data[0]] & NAME_START:
            return False                # no scheme, or one that does not begin with a letter
        at += 1
    elif at < end:
        authority = at == name.data
        while at < end and at[0] != c'/' and at[0] != c'?' and at[0] != c'#':
            if at[0] == c':':
                return False            # a relative reference has none in its first segment
            at += 1
    if authority and end - at >= 2 and at[0] == c'/' and at[1] == c'/':
        at += 2
        while at < end and CLASS[at[0]] & NAME_BYTE and at[0] != c':':
            at += 1
        if at < end and at[0] == c':':
            at += 1
            begun = at
            while at < end and c'0' <= at[0] <= c'9':
                at += 1
            if not 1 <= at - begun <= 5:
                return False
        if at < end and at[0] != c'/' and at[0] != c'?' and at[0] != c'#':
            return False
    begun = <const uint8_t*> memchr(at, c'#', end - at)
    return begun == NULL or memchr(begun + 1, c'#', end - begun - 1) == NULL

# --- attributes ---


cdef inline bint add_attribute(Framer* framer, Slice* name) noexcept nogil:
    """Adds an attribute of the start tag under way; False if it is there already."""
    global changed
    cdef Attribute* attribute = &ATTRIBUTES[framer.attributes]
    cdef int i
    attribute.name = name[0]
    attribute.hash = hash_bytes(name.data, name.length, KEY)
    if framer.attributes <= FEW_ATTRIBUTES:
        for i in range(framer.attributes):
            if ATTRIBUTES[i].hash == attribute.hash and same(&ATTRIBUTES[i].name, name):
                return False
    elif not is_new(framer.attributes):
        return False
    framer.attributes += 1
    changed = True
    return True


cdef bint is_new(int count) noexcept nogil:
    """Whether none of the first `count` attributes, which all differ, has the name of the next; puts all into the table."""
    global slotted
    cdef int slot, other
    if slotted == 0:
        memset(SLOT, 0, SLOTS)
    while slotted <= count:
        slot = ATTRIBUTES[slotted].hash % SLOTS
        while SLOT[slot]:
            other = SLOT[slot] - 1
            if ATTRIBUTES[other].hash == ATTRIBUTES[slotted].hash and same(&ATTRIBUTES[other].name, &ATTRIBUTES[slotted].name):
                return False
            slot = (slot + 1) % SLOTS
        slotted += 1
        SLOT[slot] = slotted
    return True


cdef bint names_resolve(Framer* framer) noexcept nogil:
    """The start tag is complete: every prefix is bound, and no two attributes have the same expanded name (section 6.3)."""
    cdef int i
    cdef uint64_t used = 0      # bindings that prefixes of attributes stand for
    cdef Attribute* attribute
    if tag.prefix and resolve(framer, &tag) == UNBOUND:
        return False
    for i in range(framer.attributes):
        attribute = &ATTRIBUTES[i]
        attribute.binding = UNBOUND
        if attribute.name.prefix and not declares(&attribute.name):
            attribute.binding = resolve(framer, &attribute.name)
            if attribute.binding == UNBOUND:
                return False
            used |= <uint64_t> 1 << attribute.binding
    return used & (used - 1) == 0 or expanded_names_differ(framer)


cdef inline Slice* namespace_of(int binding) noexcept nogil:
    """The name of what a prefix is bound to; no other prefix has the name that xml has, so that it needs none here."""
    return &BINDINGS[binding].name if binding < BINDINGS_LIMIT else &STREAMS


cdef bint expanded_names_differ(Framer* framer) noexcept nogil:
    """The same where attributes have different prefixes, of which some may stand for one namespace."""
    global slotted
    cdef uint8_t first[64]      # of a binding: the first one in use with the same namespace
    cdef int used[64]
    cdef int i, j, slot, other, count = 0
    cdef bint shared = False
    cdef uint64_t seen = 0
    cdef Slice* name
    for i in range(framer.attributes):
        j = ATTRIBUTES[i].binding
        if j == UNBOUND or seen >> j & 1:
            continue
        seen |= <uint64_t> 1 << j
        first[j] = j
        for other in range(count):
            if hash_of_namespace(used[other]) == hash_of_namespace(j) and same(namespace_of(used[other]), namespace_of(j)):
                first[j] = first[used[other]]
                shared = True
                break
        used[count] = j
        count += 1
    if not shared:
        return True
    memset(SLOT, 0, SLOTS)
    slotted = 0
    for i in range(framer.attributes):
        if ATTRIBUTES[i].binding == UNBOUND:
            continue
        name = &ATTRIBUTES[i].name
        ATTRIBUTES[i].binding = first[ATTRIBUTES[i].binding]
        ATTRIBUTES[i].hash = mix(hash_bytes(name.data + name.prefix + 1, name.length - name.prefix - 1, KEY), KEY[1] ^ <uint64_t> ATTRIBUTES[i].binding)
        slot = ATTRIBUTES[i].hash % SLOTS
        while SLOT[slot]:
            other = SLOT[slot] - 1
            if (ATTRIBUTES[other].hash == ATTRIBUTES[i].hash and ATTRIBUTES[other].binding == ATTRIBUTES[i].binding
                    and same_local(&ATTRIBUTES[other].name, name)):
                return False
            slot = (slot + 1) % SLOTS
        SLOT[slot] = i + 1
    return True


cdef inline uint64_t hash_of_namespace(int binding) noexcept nogil:
    return BINDINGS[binding].hash if binding < BINDINGS_LIMIT else STREAMS_HASH if binding == ROOT_BINDING else 0


cdef inline bint same_local(Slice* one, Slice* other) noexcept nogil:
    """Whether two names with prefixes have the same local part."""
    return (one.length - one.prefix == other.length - other.prefix
            and memcmp(one.data + one.prefix, other.data + other.prefix, one.length - one.prefix) == 0)
