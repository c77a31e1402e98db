/* Bad input, one kind per hostile session in turn, and the errors with which RFC 6120 lets a server answer it. */
#include "swarm.h"

#include <stdio.h>
#include <string.h>

struct input {
    const char *name;
    enum moment moment;
    const char *text;
    size_t length;
    const char *right; /* conditions, with a space around each; "closed": without a word */
    uint32_t repeated; /* how often a last `x` of the text is said in all */
};

#define TEXT(text) text, sizeof text - 1
#define HEADER_OF(namespace, to, version)                                                                              \
    TEXT("<?xml version='1.0'?><stream:stream xmlns='jabber:client' xmlns:stream='" namespace "' to='" to              \
         "' version='" version "'>")

static const struct input INPUTS[] = {
    {"http-request", AT_HEADER, TEXT("GET / HTTP/1.1\r\nHost: localhost\r\n\r\n"),
     " not-well-formed xml-not-well-formed bad-format invalid-namespace closed ", 0},
    {"unknown-host", AT_HEADER, HEADER_OF("http://etherx.jabber.org/streams", "nowhere.invalid", "1.0"),
     " host-unknown ", 0},
    {"wrong-stream-namespace", AT_HEADER, HEADER_OF("urn:wrong", "nowhere.invalid", "1.0"),
     " invalid-namespace host-unknown ", 0},
    {"unknown-mechanism", AT_FEATURES,
     TEXT("<auth xmlns='urn:ietf:params:xml:ns:xmpp-sasl' mechanism='SECRET'>AAAA</auth>"), " invalid-mechanism ", 0},
    {"stanza-before-login", AT_FEATURES, TEXT("<message to='nobody@nowhere.invalid'><body>too early</body></message>"),
     " not-authorized policy-violation ", 0},
    {"end-tag-of-another", AT_OPEN, TEXT("<message><body></message></body>"), " not-well-formed xml-not-well-formed ",
     0},
    {"undefined-entity", AT_OPEN, TEXT("<message><body>&undefined;</body></message>"),
     " not-well-formed xml-not-well-formed restricted-xml ", 0},
    {"document-type", AT_OPEN, TEXT("<!DOCTYPE a [<!ENTITY b 'c'>]><message><body>&b;</body></message>"),
     " restricted-xml not-well-formed xml-not-well-formed ", 0},
    {"comment", AT_OPEN, TEXT("<message><!-- aside --><body/></message>"), " restricted-xml not-well-formed ", 0},
    {"processing-instruction", AT_OPEN, TEXT("<message><?do this?><body/></message>"),
     " restricted-xml not-well-formed ", 0},
    {"not-utf-8", AT_OPEN, TEXT("<message><body>\xc3\x28\xff</body></message>"),
     " not-well-formed xml-not-well-formed unsupported-encoding bad-format ", 0},
    {"null-byte", AT_OPEN, TEXT("<message><body>\0</body></message>"),
     " not-well-formed xml-not-well-formed restricted-xml unsupported-encoding ", 0},
    {"unbound-prefix", AT_OPEN, TEXT("<message><a:body/></message>"),
     " not-well-formed xml-not-well-formed bad-namespace-prefix bad-format ", 0},
    {"unknown-stanza", AT_OPEN, TEXT("<telegram xmlns='jabber:client'/>"),
     " unsupported-stanza-type invalid-xml bad-format ", 0},
    {"huge-stanza", AT_OPEN, TEXT("<message><body>x"), " policy-violation resource-constraint not-well-formed closed ",
     2000000},
};

enum { INPUTS_COUNT = sizeof INPUTS / sizeof *INPUTS, PIECE_BYTES = 8192 };

static const struct input *input_of(const struct session *session) { return &INPUTS[session->input % INPUTS_COUNT]; }

/* What the server does not take at once is dropped: it has got the point, or will close. */
static void repeat(struct swarm *swarm, struct session *session, char last, uint32_t count) {
    char piece[PIECE_BYTES];
    memset(piece, last, sizeof piece);
    for (uint32_t said = 0; said < count; said += sizeof piece)
        if (!connection_write(swarm, session, piece, sizeof piece)) return;
}

/* Servers may also answer with an error of a stanza, or of SASL; all else may be about something else. */
void hostile_hear(struct swarm *swarm, struct session *session, struct slice element) {
    struct slice tag, rest = element;
    char condition[CONDITION_BYTES];
    next_tag(&rest, &tag);
    bool is_failure = is_named(tag, "failure");
    if (!is_failure && !is_text(attribute(tag, "type"), "error")) return;
    find_condition(element, is_failure ? "failure" : "error", condition, sizeof condition);
    hostile_answered(swarm, session, condition);
}

bool hostile_speaks(struct swarm *swarm, struct session *session, enum moment moment) {
    const struct input *input = input_of(session);
    bool untimely =
        moment == AT_HEADER && swarm->security == STARTTLS && !session->secured; /* first TLS, then the rest */
    if (session->behaviour != HOSTILE || input->moment != moment || untimely) return false;
    session->waits_for_answer = true;
    timer_set(swarm, session, swarm->settings.hostile_timeout_seconds);
    swarm->counters.hostile_sent++;
    connection_write(swarm, session, input->text, input->length);
    if (input->repeated > 0) repeat(swarm, session, input->text[input->length - 1], input->repeated);
    return true;
}

void hostile_answered(struct swarm *swarm, struct session *session, const char *what) {
    const struct input *input = input_of(session);
    char word[CONDITION_BYTES + 2], why[REASON_BYTES];
    snprintf(word, sizeof word, " %s ", what);
    if (strstr(input->right, word) != NULL) {
        swarm->counters.hostile_refused++;
    } else {
        swarm->counters.hostile_wrong++;
        snprintf(why, sizeof why, "%s: %s", input->name, what);
        reasons_note(&swarm->reasons, "hostile", why);
    }
    session_gone(swarm, session);
}
