/* XML as far as a load generator has to know it: where the elements of a stream end, and what is in one.

   Nothing is copied and nothing is checked that the server's own peers would check; any prefix, quote and order of
   attributes is understood. */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct slice {
    const char *at;
    size_t length;
};

enum scanned {
    SCAN_MORE,    /* all is read, and nothing ended */
    SCAN_HEADER,  /* the start tag of the stream */
    SCAN_ELEMENT, /* an element of the stream: a stanza, features, an error ... */
    SCAN_END      /* the stream itself */
};

/* How far the reading of a stream has come; all zero: nothing came yet. What comes may be cut anywhere. */
struct scanner {
    uint8_t mode, matched;
    uint32_t depth;
};

/* Reads on until something ends, and returns where it ended, or `end` with SCAN_MORE. */
const char *scan(struct scanner *scanner, const char *at, const char *end, enum scanned *what);

/* Whether nothing but white space may come between here and the next element. */
bool scan_is_between(const struct scanner *scanner);

/* The next start tag, of whatever depth; `rest` begins behind it then. False: there is none. */
bool next_tag(struct slice *rest, struct slice *tag);

/* The first start tag with this local name, and all behind it. */
bool find_tag(struct slice rest, const char *name, struct slice *tag, struct slice *behind);

struct slice local_name(struct slice tag);
bool is_named(struct slice tag, const char *name);
bool is_text(struct slice text, const char *other);

/* The value of an attribute, as it stands between the quotes; an empty slice if it is not there. */
struct slice attribute(struct slice tag, const char *name);

/* The characters from here to the next tag. */
struct slice text_before_tag(struct slice rest);

/* The defined condition in the first element of this name (`error` or `failure`), cut to fit; else "undefined". */
void find_condition(struct slice element, const char *name, char *into, size_t size);
