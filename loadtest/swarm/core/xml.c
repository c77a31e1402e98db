/* Scanning of streams, and looking into elements. */
#include "xml.h"

#include <string.h>

enum mode {
    TEXT,
    OPENED,
    START_TAG,
    IN_DOUBLE_QUOTES,
    IN_SINGLE_QUOTES,
    END_TAG,
    INSTRUCTION,
    DECLARATION,
    COMMENT,
    CDATA,
    DOCTYPE
};

/* The element whose depth has just fallen. */
static enum scanned ended(const struct scanner *scanner) {
    return scanner->depth == 0 ? SCAN_END : scanner->depth == 1 ? SCAN_ELEMENT : SCAN_MORE;
}

static enum scanned end_tag_ended(struct scanner *scanner) {
    scanner->mode = TEXT;
    if (scanner->depth > 0) scanner->depth--;
    return ended(scanner);
}

static enum scanned start_tag_ended(struct scanner *scanner) {
    if (scanner->matched) return end_tag_ended(scanner); /* <element/> */
    scanner->mode = TEXT;
    return scanner->depth == 1 ? SCAN_HEADER : SCAN_MORE;
}

static void open_markup(struct scanner *scanner, char next) {
    scanner->matched = 0;
    scanner->mode = next == '/' ? END_TAG : next == '?' ? INSTRUCTION : next == '!' ? DECLARATION : START_TAG;
    scanner->depth += scanner->mode == START_TAG;
}

/* One character of what ends with `marks` times `mark` and '>'. */
static void match_end(struct scanner *scanner, char next, char mark, int marks) {
    if (next == '>' && scanner->matched >= marks)
        scanner->mode = TEXT;
    else if (next != mark)
        scanner->matched = 0;
    else if (scanner->matched < marks)
        scanner->matched++;
}

static const char *skip_to(const char *at, const char *end, char mark, struct scanner *scanner, enum mode then) {
    at = memchr(at, mark, end - at);
    if (at == NULL) return end;
    scanner->mode = then;
    return at + 1;
}

const char *scan(struct scanner *scanner, const char *at, const char *end, enum scanned *what) {
    for (*what = SCAN_MORE; at < end && *what == SCAN_MORE;) {
        switch ((enum mode)scanner->mode) {
        case TEXT:
            at = skip_to(at, end, '<', scanner, OPENED);
            break;
        case OPENED:
            open_markup(scanner, *at++);
            break;
        case START_TAG: {
            char next = *at++;
            if (next == '>')
                *what = start_tag_ended(scanner);
            else if (next == '"' || next == '\'')
                scanner->mode = next == '"' ? IN_DOUBLE_QUOTES : IN_SINGLE_QUOTES;
            scanner->matched = next == '/';
            break;
        }
        case IN_DOUBLE_QUOTES:
            at = skip_to(at, end, '"', scanner, START_TAG);
            break;
        case IN_SINGLE_QUOTES:
            at = skip_to(at, end, '\'', scanner, START_TAG);
            break;
        case END_TAG:
            at = memchr(at, '>', end - at);
            if (at == NULL) return end;
            at++;
            *what = end_tag_ended(scanner);
            break;
        case DECLARATION: {
            char next = *at++;
            scanner->mode = next == '-' ? COMMENT : next == '[' ? CDATA : DOCTYPE;
            scanner->matched = 0;
            break;
        }
        case INSTRUCTION:
            match_end(scanner, *at++, '?', 1);
            break;
        case COMMENT:
            match_end(scanner, *at++, '-', 2);
            break;
        case CDATA:
            match_end(scanner, *at++, ']', 2);
            break;
        case DOCTYPE:
            at = skip_to(at, end, '>', scanner, TEXT);
            break;
        }
    }
    return at;
}

bool scan_is_between(const struct scanner *scanner) { return scanner->mode == TEXT && scanner->depth <= 1; }

/* --- looking into an element --- */

static const char *behind(const char *at, const char *end, const char *mark) {
    const char *found = memmem(at, end - at, mark, strlen(mark));
    return found == NULL ? end : found + strlen(mark);
}

static bool begins(const char *at, const char *end, const char *text) {
    size_t length = strlen(text);
    return (size_t)(end - at) >= length && memcmp(at, text, length) == 0;
}

static const char *behind_start_tag(const char *at, const char *end) {
    while (at < end && *at != '>') {
        if (*at == '"' || *at == '\'') {
            at = memchr(at + 1, *at, end - at - 1);
            if (at == NULL) return end;
        }
        at++;
    }
    return at < end ? at + 1 : end;
}

bool next_tag(struct slice *rest, struct slice *tag) {
    const char *at = rest->at, *end = at + rest->length;
    while ((at = memchr(at, '<', end - at)) != NULL && end - at > 2) {
        if (begins(at, end, "<!--")) {
            at = behind(at + 4, end, "-->");
        } else if (begins(at, end, "<![CDATA[")) {
            at = behind(at + 9, end, "]]>");
        } else if (at[1] == '/' || at[1] == '?' || at[1] == '!') {
            at = behind(at, end, ">");
        } else {
            const char *next = behind_start_tag(at, end);
            *tag = (struct slice){at, next - at};
            *rest = (struct slice){next, end - next};
            return true;
        }
    }
    return false;
}

bool find_tag(struct slice rest, const char *name, struct slice *tag, struct slice *behind) {
    while (next_tag(&rest, tag)) {
        if (!is_named(*tag, name)) continue;
        *behind = rest;
        return true;
    }
    return false;
}

static bool is_space(char c) { return c == ' ' || c == '\t' || c == '\r' || c == '\n'; }

static bool ends_name(char c) { return is_space(c) || c == '/' || c == '>' || c == '='; }

struct slice local_name(struct slice tag) {
    const char *begin = tag.at + 1, *at = begin, *end = tag.at + tag.length;
    for (; at < end && !ends_name(*at); at++)
        if (*at == ':') begin = at + 1;
    return (struct slice){begin, at - begin};
}

bool is_text(struct slice text, const char *other) {
    return text.length == strlen(other) && memcmp(text.at, other, text.length) == 0;
}

bool is_named(struct slice tag, const char *name) { return is_text(local_name(tag), name); }

struct slice attribute(struct slice tag, const char *name) {
    const char *end = tag.at + tag.length, *at = tag.at + 1;
    while (at < end && !ends_name(*at)) at++;
    while (at < end) {
        while (at < end && (is_space(*at) || *at == '/')) at++;
        struct slice found = {at, 0};
        while (at < end && !ends_name(*at)) at++;
        found.length = at - found.at;
        while (at < end && *at != '"' && *at != '\'' && *at != '>') at++;
        if (at == end || *at == '>') break;
        const char *value = at + 1, *close = memchr(value, *at, end - value);
        if (close == NULL) break;
        if (is_text(found, name)) return (struct slice){value, close - value};
        at = close + 1;
    }
    return (struct slice){tag.at, 0};
}

struct slice text_before_tag(struct slice rest) {
    const char *end = memchr(rest.at, '<', rest.length);
    return (struct slice){rest.at, end == NULL ? rest.length : (size_t)(end - rest.at)};
}

void find_condition(struct slice element, const char *name, char *into, size_t size) {
    struct slice tag, rest, condition = {"undefined", 9};
    if (find_tag(element, name, &tag, &rest)) {
        while (next_tag(&rest, &tag)) {
            if (is_named(tag, "text")) continue;
            condition = local_name(tag);
            break;
        }
    }
    size_t length = condition.length < size ? condition.length : size - 1;
    memcpy(into, condition.at, length);
    into[length] = 0;
}
