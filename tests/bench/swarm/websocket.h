/* The same login and stanza as WebSocket messages (RFC 6455, RFC 7395), and the frames that carry them. */
#pragma once

#include "xmpp.h"

enum { MASK_BYTES = 4, HEAD_BYTES = 14, FINAL = 0x80, CONTROL = 8, TEXT = 1, MASKED = 0x80 };

static const uint8_t MASK[MASK_BYTES] = {0x37, 0xfa, 0x21, 0x3d};

#define FRAMING "xmlns='urn:ietf:params:xml:ns:xmpp-framing'"
#define FEATURES_BEGIN "<stream:features" CLIENT_SPACE " xmlns:stream='http://etherx.jabber.org/streams'>"

static const char UPGRADE_REQUEST[] =
    "GET /xmpp-websocket HTTP/1.1\r\nHost: bench.example\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
    "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\nSec-WebSocket-Protocol: xmpp\r\n\r\n";
static const char UPGRADE_ANSWER[] =
    "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
    "Sec-WebSocket-Accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=\r\nSec-WebSocket-Protocol: xmpp\r\n\r\n";

/* What follows the upgrade: a message, and the end of the last message that answers it. */
struct exchange {
    const char *said, *answers[2];
    const char *end;
};

static const struct exchange EXCHANGES[] = {
    {"<open " FRAMING " to='bench.example' version='1.0'/>",
     {"<open " FRAMING " from='bench.example' id='++TR84Sm6A3hnt3Q065SnAbbk3Y=' xml:lang='en' version='1.0'/>",
      FEATURES_BEGIN "<mechanisms xmlns='urn:ietf:params:xml:ns:xmpp-sasl'><mechanism>PLAIN</mechanism></mechanisms>"
                     "</stream:features>"},
     "</stream:features>"},
    {CLIENT_AUTH_TEXT, {"<success xmlns='urn:ietf:params:xml:ns:xmpp-sasl'/>", NULL}, "xmpp-sasl'/>"},
    {"<open " FRAMING " to='bench.example' version='1.0'/>",
     {"<open " FRAMING " from='bench.example' id='++TR84Sm6A3hnt3Q065SnAbbk3Z=' xml:lang='en' version='1.0'/>",
      FEATURES_BEGIN "<bind xmlns='urn:ietf:params:xml:ns:xmpp-bind'/></stream:features>"},
     "</stream:features>"},
    {"<iq" CLIENT_SPACE " type='set' id='bind1'><bind xmlns='urn:ietf:params:xml:ns:xmpp-bind'>"
     "<resource>balcony</resource></bind></iq>",
     {"<iq" CLIENT_SPACE " type='result' id='bind1'><bind xmlns='urn:ietf:params:xml:ns:xmpp-bind'>"
      "<jid>juliet@bench.example/balcony</jid></bind></iq>",
      NULL},
     "</iq>"},
};

enum { EXCHANGE_COUNT = sizeof EXCHANGES / sizeof EXCHANGES[0] };

/* --- writing: the whole frame of a text message; its length --- */

static inline size_t write_head(char *into, size_t length, int masked) {
    size_t size = length < 126 ? 2 : length < 65536 ? 4 : 10;
    into[0] = (char)(FINAL | TEXT);
    into[1] = (char)((masked ? MASKED : 0) | (size == 2 ? length : size == 4 ? 126 : 127));
    for (size_t i = 2; i < size; i++) into[i] = (char)(length >> 8 * (size - 1 - i));
    return size;
}

static inline size_t write_message(char *into, const char *text, size_t length, int masked) {
    size_t size = write_head(into, length, masked);
    if (masked) {
        memcpy(into + size, MASK, MASK_BYTES);
        size += MASK_BYTES;
    }
    for (size_t i = 0; i < length; i++) into[size + i] = (char)(text[i] ^ (masked ? MASK[i & 3] : 0));
    return size + length;
}

/* --- reading: headers byte by byte, payload in slices --- */

struct frames {
    uint64_t left; /* of the payload */
    uint8_t head[HEAD_BYTES], have;
    uint8_t inside; /* the payload */
    uint8_t turn;   /* which byte of the mask is next */
};

/* Takes what of `data` belongs to a header; how much that was. */
static inline size_t take_head(struct frames *frames, const char *data, size_t length) {
    size_t taken = 0;
    while (!frames->inside && taken < length) {
        frames->head[frames->have++] = (uint8_t)data[taken++];
        if (frames->have < 2) continue;
        size_t form = frames->head[1] & 0x7f, extended = form == 126 ? 2 : form == 127 ? 8 : 0;
        if (frames->have < 2 + extended + (frames->head[1] & MASKED ? MASK_BYTES : 0)) continue;
        frames->left = extended ? 0 : form;
        for (size_t i = 0; i < extended; i++) frames->left = frames->left << 8 | frames->head[2 + i];
        frames->inside = 1;
        frames->turn = 0;
    }
    return taken;
}

/* Takes what of `data` belongs to the payload; how much that was. `*ended` if a message ends with it: a ping is none. */
static inline size_t take_payload(struct frames *frames, size_t length, int *ended) {
    size_t taken = length < frames->left ? length : frames->left;
    frames->left -= taken;
    frames->turn = (uint8_t)((frames->turn + taken) & 3);
    *ended = 0;
    if (frames->left == 0) {
        *ended = (frames->head[0] & (FINAL | CONTROL)) == FINAL;
        frames->inside = frames->have = 0;
    }
    return taken;
}
