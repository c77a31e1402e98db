/* From the first features to the bound resource (RFC 6120 sections 5 to 7): what each answer of the server leads to. */
#include "swarm.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static const char *const MECHANISMS[] = {"ANONYMOUS", "PLAIN", "SCRAM-SHA-1", "SCRAM-SHA-256"};

#define AUTH "<auth xmlns='urn:ietf:params:xml:ns:xmpp-sasl' mechanism='%s'>%s</auth>"

static const EVP_MD *digest_of(const struct swarm *swarm) {
    return swarm->mechanism == SCRAM_SHA_1 ? EVP_sha1() : EVP_sha256();
}

static bool is_scram(const struct swarm *swarm) { return swarm->mechanism >= SCRAM_SHA_1; }

/* --- features --- */

static void say_starttls(struct swarm *swarm, struct session *session) {
    session->step = PROCEED;
    say(swarm, session, "<starttls xmlns='urn:ietf:params:xml:ns:xmpp-tls'/>");
}

/* The last message of SASL, and with it all that can be said without knowing the answers (XEP-0305). */
static void say_last_of_sasl(struct swarm *swarm, struct session *session, const char *format, const char *first,
                             const char *second) {
    char message[SASL_BYTES + 256];
    snprintf(message, sizeof message, format, first, second);
    session->pipelined &= session->behaviour != HOSTILE;
    if (session->pipelined)
        say(swarm, session, "%s" HEADER BIND_REQUEST "%s", message, swarm->domain,
            swarm->settings.presence ? PRESENCE : "");
    else
        say(swarm, session, "%s", message);
}

static void say_auth(struct swarm *swarm, struct session *session) {
    char name[FIELD_BYTES], message[SASL_BYTES] = "";
    const char *password, *wrong = NULL;
    session->step = SASL;
    if (hostile_speaks(swarm, session, AT_FEATURES)) return;
    if (swarm->mechanism != ANONYMOUS) password = account(&swarm->accounts, session->account, name);
    if (swarm->mechanism == PLAIN) plain_message(name, password, message);
    if (is_scram(swarm)) wrong = scram_begin(&session->login->scram, name, message);
    if (wrong != NULL)
        session_fail(swarm, session, "sasl", wrong);
    else if (is_scram(swarm))
        say(swarm, session, AUTH, MECHANISMS[swarm->mechanism], message);
    else
        say_last_of_sasl(swarm, session, AUTH, MECHANISMS[swarm->mechanism], message);
}

/* The server names the resource: two sessions of one account never take one from each other. */
static void say_bind(struct swarm *swarm, struct session *session) {
    session->step = BIND;
    if (!session->pipelined) say(swarm, session, BIND_REQUEST);
}

static bool offers_mechanism(struct slice features, const char *name) {
    struct slice tag;
    while (find_tag(features, "mechanism", &tag, &features))
        if (is_text(text_before_tag(features), name)) return true;
    return false;
}

/* RFC 3921 section 3; servers that still announce it mark it as optional, or want it. */
static bool needs_session(struct slice features) {
    struct slice tag, behind;
    if (!find_tag(features, "session", &tag, &behind)) return false;
    bool empty = tag.length > 2 && tag.at[tag.length - 2] == '/';
    return empty || !next_tag(&behind, &tag) || !is_named(tag, "optional");
}

static void take_features(struct swarm *swarm, struct session *session, struct slice features) {
    struct slice tag, behind;
    if (session->behaviour == HALF_OPEN) {
        session_logged_in(swarm, session);
    } else if (swarm->security == STARTTLS && !session->secured) {
        if (find_tag(features, "starttls", &tag, &behind))
            say_starttls(swarm, session);
        else
            session_fail(swarm, session, "tls", "not-offered");
    } else if (!session->authenticated) {
        session->pipelined = swarm->settings.pipeline || find_tag(features, "pipelining", &tag, &behind);
        if (offers_mechanism(features, MECHANISMS[swarm->mechanism]))
            say_auth(swarm, session);
        else
            session_fail(swarm, session, "sasl", "mechanism-not-offered");
    } else {
        session->session_needed = needs_session(features);
        say_bind(swarm, session);
    }
}

/* --- SASL --- */

static struct slice content(struct slice element) {
    struct slice tag;
    next_tag(&element, &tag);
    return tag.at[tag.length - 2] == '/' ? (struct slice){tag.at, 0} : text_before_tag(element);
}

static void take_challenge(struct swarm *swarm, struct session *session, struct slice challenge) {
    char name[FIELD_BYTES], message[SASL_BYTES];
    const char *password, *wrong = "unexpected-challenge";
    if (is_scram(swarm)) {
        password = account(&swarm->accounts, session->account, name);
        wrong = scram_answer(&session->login->scram, digest_of(swarm), &swarm->keys, name, password, content(challenge),
                             message);
    }
    if (wrong != NULL)
        session_fail(swarm, session, "sasl", wrong);
    else
        say_last_of_sasl(swarm, session, "<response xmlns='urn:ietf:params:xml:ns:xmpp-sasl'>%s</response>", message,
                         "");
}

static void take_success(struct swarm *swarm, struct session *session, struct slice success) {
    const char *wrong =
        is_scram(swarm) ? scram_verify(&session->login->scram, digest_of(swarm), content(success)) : NULL;
    if (wrong != NULL) {
        session_fail(swarm, session, "sasl", wrong);
        return;
    }
    session->authenticated = true;
    if (session->pipelined)
        stream_restart(session);
    else
        say_header(swarm, session);
}

static void take_refusal(struct swarm *swarm, struct session *session, struct slice failure) {
    char condition[CONDITION_BYTES];
    find_condition(failure, "failure", condition, sizeof condition);
    session_fail(swarm, session, session->step == PROCEED ? "tls" : "sasl", condition);
}

/* --- binding --- */

/* The JID as it came, except that it fits between apostrophes. */
static char *quotable(struct slice jid) {
    static const char escaped[] = "&apos;";
    char *made = malloc(jid.length * (sizeof escaped - 1) + 1), *into = made;
    for (size_t i = 0; made != NULL && i < jid.length; i++) {
        if (jid.at[i] == '\'')
            into = stpcpy(into, escaped);
        else
            *into++ = jid.at[i];
    }
    if (made == NULL) return NULL;
    *into = 0;
    return realloc(made, into - made + 1);
}

static void take_bound(struct swarm *swarm, struct session *session, struct slice iq) {
    struct slice tag, rest = iq;
    next_tag(&rest, &tag);
    if (is_text(attribute(tag, "type"), "error")) {
        char condition[CONDITION_BYTES];
        find_condition(iq, "error", condition, sizeof condition);
        session_fail(swarm, session, "bind", condition);
    } else if (session->step == SESSION) {
        session_logged_in(swarm, session);
    } else if (!find_tag(iq, "jid", &tag, &rest) || (session->jid = quotable(text_before_tag(rest))) == NULL) {
        session_fail(swarm, session, "bind", "no-jid");
    } else if (session->session_needed) {
        session->step = SESSION;
        say(swarm, session, "<iq type='set' id='s'><session xmlns='urn:ietf:params:xml:ns:xmpp-session'/></iq>");
    } else {
        session_logged_in(swarm, session);
    }
}

/* --- dispatch --- */

struct answer {
    enum step step;
    const char *element;
    void (*take)(struct swarm *, struct session *, struct slice);
};

static const struct answer ANSWERS[] = {
    {FEATURES, "features", take_features}, {PROCEED, "failure", take_refusal}, {SASL, "challenge", take_challenge},
    {SASL, "success", take_success},       {SASL, "failure", take_refusal},    {BIND, "iq", take_bound},
    {SESSION, "iq", take_bound},
};

void login_hear(struct swarm *swarm, struct session *session, struct slice element) {
    struct slice tag, rest = element;
    next_tag(&rest, &tag);
    if (session->step == PROCEED && is_named(tag, "proceed")) {
        stream_secure(swarm, session);
        return;
    }
    for (size_t i = 0; i < sizeof ANSWERS / sizeof *ANSWERS; i++) {
        if (ANSWERS[i].step != session->step || !is_named(tag, ANSWERS[i].element)) continue;
        ANSWERS[i].take(swarm, session, element);
        return;
    }
    if (session->step < BIND) session_fail(swarm, session, "login", "unexpected-element");
}
