/* The load generator for real servers: thousands of XMPP clients in one process, which log in over TLS and stay.

   Usage: login PORT starttls|direct TLS-VERSION DOMAIN SCRAM-SHA-1|PLAIN ACCOUNTS PASSWORD [presence]
   The accounts are user0, user1 ...; client n is user n modulo ACCOUNTS, with a resource of its own.
   Commands, each answered with one line of JSON:
     open N AT_ONCE  N more clients log in, AT_ONCE of them at the same time; a login lasts from its first connect.
                     One whose connection ends begins anew: a server whose backlog overflows may reset some
     close N         the N last ones leave */
#define _GNU_SOURCE
#include "scram.h"
#include "transport.h"

#include <signal.h>
#include <sys/epoll.h>

enum { EVENTS = 256, ANSWER_BYTES = 8192, SAY_BYTES = 4096, STEPS = 8, PATIENCE_MS = 60000, DESCRIPTORS = 20000, ATTEMPTS = 8 };

struct login { /* only while a client logs in */
    uint64_t began_ns;
    int attempts;
    char bare[BARE_BYTES];
    int received;
    char answer[ANSWER_BYTES + 1];
};

struct client {
    int fd, number;
    SSL *ssl;
    uint8_t connected, secure, step;
    struct login *login; /* NULL: logged in */
};

/* What a client says, and how the answer to it ends. */
struct step {
    void (*say)(struct client *);
    const char *end;
    int then_tls;
};

static struct sockaddr_in server;
static const char *domain, *password;
static struct keys keys;
static int account_count, with_presence;
static struct step steps[STEPS];
static int step_count;
static struct client table[DESCRIPTORS];
static int clients, logging_in, poller;
static long waiting_for, completed, retries;
static uint32_t latencies_us[DESCRIPTORS];

/* --- what a client says --- */

static void say(struct client *client, const char *format, ...) {
    char text[SAY_BYTES];
    va_list arguments;
    va_start(arguments, format);
    int length = vsnprintf(text, sizeof text, format, arguments);
    va_end(arguments);
    transport_write(client->fd, client->ssl, text, length); /* if the connection has ended, reading will tell */
}

static void say_header(struct client *client) {
    say(client, "<?xml version='1.0'?><stream:stream xmlns='jabber:client' "
                "xmlns:stream='http://etherx.jabber.org/streams' to='%s' version='1.0'>", domain);
}

static void say_starttls(struct client *client) { say(client, "<starttls xmlns='urn:ietf:params:xml:ns:xmpp-tls'/>"); }

static void name_user(const struct client *client, char user[32]) {
    snprintf(user, 32, "user%d", client->number % account_count);
}

static void say_auth(struct client *client, const char *mechanism, const char *message) {
    say(client, "<auth xmlns='urn:ietf:params:xml:ns:xmpp-sasl' mechanism='%s'>%s</auth>", mechanism, message);
}

static void say_plain(struct client *client) {
    char user[32], message[4 * BARE_BYTES];
    name_user(client, user);
    plain_message(user, password, message);
    say_auth(client, "PLAIN", message);
}

static void say_scram(struct client *client) {
    char user[32], first[BARE_BYTES + 4], message[2 * sizeof first];
    name_user(client, user);
    scram_begin(user, client->login->bare);
    encode64(first, snprintf(first, sizeof first, "n,,%s", client->login->bare), message);
    say_auth(client, "SCRAM-SHA-1", message);
}

static void say_response(struct client *client) {
    char message[SAY_BYTES / 2];
    const char *challenge = strchr(client->login->answer, '>') + 1, *end = strrchr(client->login->answer, '<');
    scram_answer(&keys, password, client->login->bare, challenge, end - challenge, message);
    say(client, "<response xmlns='urn:ietf:params:xml:ns:xmpp-sasl'>%s</response>", message);
}

static void say_bind(struct client *client) {
    say(client, "<iq type='set' id='bind1'><bind xmlns='urn:ietf:params:xml:ns:xmpp-bind'><resource>r%d</resource>"
                "</bind></iq>", client->number);
}

static void add_step(void (*say)(struct client *), const char *end, int then_tls) {
    steps[step_count++] = (struct step){say, end, then_tls};
}

static void plan(int starttls, int scram) {
    static const char features[] = "</stream:features>";
    if (starttls) {
        add_step(say_header, features, 0);
        add_step(say_starttls, "/>", 1);
    }
    add_step(say_header, features, 0);
    if (scram) {
        add_step(say_scram, "</challenge>", 0);
        add_step(say_response, "</success>", 0);
    } else {
        add_step(say_plain, "/>", 0);
    }
    add_step(say_header, features, 0);
    add_step(say_bind, "</iq>", 0);
}

/* --- login --- */

static void attempt(struct client *client) {
    if (++client->login->attempts > ATTEMPTS) die("client %d was cut off %d times", client->number, ATTEMPTS);
    client->fd = tcp_connect(&server);
    struct epoll_event event = {.events = EPOLLOUT, .data.ptr = client};
    if (epoll_ctl(poller, EPOLL_CTL_ADD, client->fd, &event) != 0) die("epoll_ctl");
}

static void attempt_again(struct client *client) {
    SSL_free(client->ssl);
    close(client->fd);
    *client = (struct client){.number = client->number, .login = client->login};
    client->login->received = 0;
    retries++;
    attempt(client);
}

static void connect_one(void) {
    if (clients == DESCRIPTORS) die("too many clients");
    struct client *client = &table[clients];
    *client = (struct client){.number = clients++, .login = calloc(1, sizeof *client->login)};
    client->login->began_ns = now_ns();
    logging_in++;
    waiting_for--;
    attempt(client);
}

static void say_next(struct client *client) {
    steps[client->step].say(client);
    client->login->received = 0;
}

static void handshake(struct client *client) {
    int result = tls_handshake(client->ssl);
    if (result < 0) {
        attempt_again(client);
        return;
    }
    client->secure = result;
    if (client->secure) say_next(client);
}

static void begin(struct client *client) {
    struct epoll_event event = {.events = EPOLLIN, .data.ptr = client};
    epoll_ctl(poller, EPOLL_CTL_MOD, client->fd, &event);
    client->connected = 1;
    if (steps[1].then_tls) {
        say_next(client);
        return;
    }
    client->ssl = tls_begin(client->fd);
    handshake(client);
}

static void finish(struct client *client) {
    latencies_us[completed++] = (now_ns() - client->login->began_ns) / 1000;
    if (with_presence) say(client, "<presence/>");
    free(client->login);
    client->login = NULL;
    logging_in--;
    if (waiting_for > 0) connect_one();
}

static void take_answer(struct client *client) {
    struct login *login = client->login;
    const struct step *step = &steps[client->step];
    int length =
        transport_read(client->fd, client->ssl, login->answer + login->received, ANSWER_BYTES - login->received);
    if (length < 0) {
        attempt_again(client);
        return;
    }
    login->received += length;
    login->answer[login->received] = 0;
    if (login->received == ANSWER_BYTES || strstr(login->answer, "<failure") || strstr(login->answer, "<stream:error"))
        die("login refused: %s", login->answer);
    if (!ends_with(login->answer, login->received, step->end)) return;
    client->step++;
    if (step->then_tls) {
        client->ssl = tls_begin(client->fd);
        handshake(client);
    } else if (client->step == step_count) {
        finish(client);
    } else {
        say_next(client);
    }
}

static void take(struct client *client) {
    static char ignored[65536];
    if (client->login == NULL) {
        if (transport_read(client->fd, client->ssl, ignored, sizeof ignored) < 0)
            die("client %d lost its session", client->number);
    } else if (!client->connected)
        begin(client);
    else if (client->ssl != NULL && !client->secure)
        handshake(client);
    else
        take_answer(client);
}

static void run_logins(long count, long at_once) {
    struct epoll_event events[EVENTS];
    waiting_for = count;
    for (long i = 0; i < at_once && waiting_for > 0; i++) connect_one();
    while (logging_in > 0) {
        int ready = epoll_wait(poller, events, EVENTS, PATIENCE_MS);
        if (ready == 0) die("nothing happened for %d ms; %d clients wait", PATIENCE_MS, logging_in);
        for (int i = 0; i < ready; i++) take(events[i].data.ptr);
    }
}

static void run_leaves(long count) {
    for (; count > 0 && clients > 0; count--) {
        struct client *client = &table[--clients];
        say(client, "</stream:stream>");
        transport_close(client->fd, client->ssl);
    }
}

static int by_size(const void *left, const void *right) {
    uint32_t a = *(const uint32_t *)left, b = *(const uint32_t *)right;
    return (a > b) - (a < b);
}

static void report(uint64_t began) {
    double seconds = (now_ns() - began) / 1e9;
    qsort(latencies_us, completed, sizeof *latencies_us, by_size);
    long last = completed ? completed - 1 : 0;
    printf("{\"seconds\": %.6f, \"clients\": %d, \"completed\": %ld, \"p50_us\": %u, \"p99_us\": %u, \"max_us\": %u, "
           "\"retries\": %ld, \"tls\": \"%s\"}\n",
           seconds, clients, completed, latencies_us[last / 2], latencies_us[last * 99 / 100], latencies_us[last],
           retries, tls_facts);
    fflush(stdout);
}

int main(int count, char **arguments) {
    if (count < 8) die("usage: login PORT starttls|direct TLS-VERSION DOMAIN MECHANISM ACCOUNTS PASSWORD [presence]");
    server = (struct sockaddr_in){.sin_family = AF_INET, .sin_port = htons(atoi(arguments[1])), .sin_addr = {htonl(INADDR_LOOPBACK)}};
    plan(strcmp(arguments[2], "starttls") == 0, strcmp(arguments[5], "SCRAM-SHA-1") == 0);
    tls_configure(arguments[3]);
    server_name = domain = arguments[4];
    account_count = atoi(arguments[6]);
    password = arguments[7];
    with_presence = count > 8;
    poller = epoll_create1(0);
    signal(SIGPIPE, SIG_IGN); /* OpenSSL writes without MSG_NOSIGNAL */
    char line[128], name[16];
    long first = 0, second = 1;
    while (fgets(line, sizeof line, stdin) != NULL) {
        if (sscanf(line, "%15s %ld %ld", name, &first, &second) < 2) die("bad command: %s", line);
        uint64_t began = now_ns();
        completed = retries = 0;
        if (strcmp(name, "open") == 0)
            run_logins(first, second);
        else if (strcmp(name, "close") == 0)
            run_leaves(first);
        else
            die("bad command: %s", line);
        report(began);
    }
    return 0;
}
