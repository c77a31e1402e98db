/* Clients that log in at a real server and stay: the connections, the steps of a login, and the loop that drives them.

   The program that includes this defines `hear`: what a client that has logged in does with what comes. */
#pragma once

#include "scram.h"
#include "transport.h"

#include <signal.h>
#include <sys/epoll.h>
#include <sys/resource.h>

enum { EVENTS = 256, ANSWER_BYTES = 8192, SAY_BYTES = 4096, STEPS = 8, PATIENCE_MS = 60000, DESCRIPTORS = 20000, ATTEMPTS = 8, SERVERS = 16 };

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

static struct sockaddr_in servers[SERVERS]; /* client N uses the one of number N modulo their count */
static int server_count;
static const char *domain, *password;
static struct keys *keys; /* of each account */
static int account_count, with_presence;
static struct step steps[STEPS];
static int step_count;
static struct client table[DESCRIPTORS];
static int clients, logging_in, poller;
static long waiting_for, completed, retries;
static uint32_t latencies_us[DESCRIPTORS];

static void hear(struct client *client);
/* `answer` is the server's to the binding of a resource. */
static void bound(struct client *client, const char *answer);

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

static void say_anonymous(struct client *client) { say_auth(client, "ANONYMOUS", ""); }

static void say_scram(struct client *client) {
    char user[32], first[BARE_BYTES + 4], message[2 * sizeof first];
    name_user(client, user);
    scram_begin(user, client->login->bare);
    encode64(first, snprintf(first, sizeof first, "n,,%s", client->login->bare), message);
    say_auth(client, scram_digest == EVP_sha256() ? "SCRAM-SHA-256" : "SCRAM-SHA-1", message);
}

static void say_response(struct client *client) {
    char message[SAY_BYTES / 2];
    const char *challenge = strchr(client->login->answer, '>') + 1, *end = strrchr(client->login->answer, '<');
    scram_answer(&keys[client->number % account_count], password, client->login->bare, challenge, end - challenge, message);
    say(client, "<response xmlns='urn:ietf:params:xml:ns:xmpp-sasl'>%s</response>", message);
}

static void say_bind(struct client *client) {
    say(client, "<iq type='set' id='bind1'><bind xmlns='urn:ietf:params:xml:ns:xmpp-bind'><resource>r%d</resource>"
                "</bind></iq>", client->number);
}

static void add_step(void (*say)(struct client *), const char *end, int then_tls) {
    steps[step_count++] = (struct step){say, end, then_tls};
}

static void plan(int starttls, const char *mechanism) {
    static const char features[] = "</stream:features>";
    if (starttls) {
        add_step(say_header, features, 0);
        add_step(say_starttls, "/>", 1);
    }
    add_step(say_header, features, 0);
    if (strncmp(mechanism, "SCRAM-", 6) == 0) {
        scram_digest = strcmp(mechanism, "SCRAM-SHA-256") == 0 ? EVP_sha256() : EVP_sha1();
        add_step(say_scram, "</challenge>", 0);
        add_step(say_response, "</success>", 0);
    } else {
        add_step(strcmp(mechanism, "ANONYMOUS") == 0 ? say_anonymous : say_plain, "/>", 0);
    }
    add_step(say_header, features, 0);
    add_step(say_bind, "</iq>", 0);
}

/* --- login --- */

static void attempt(struct client *client) {
    if (++client->login->attempts > ATTEMPTS) die("client %d was cut off %d times", client->number, ATTEMPTS);
    client->fd = tcp_connect(&servers[client->number % server_count]);
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
    if (tls_context == NULL || steps[1].then_tls) {
        say_next(client);
        return;
    }
    client->ssl = tls_begin(client->fd);
    handshake(client);
}

static void finish(struct client *client) {
    latencies_us[completed++] = (now_ns() - client->login->began_ns) / 1000;
    if (with_presence) say(client, "<presence/>");
    bound(client, client->login->answer);
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
    if (client->login == NULL)
        hear(client);
    else if (!client->connected)
        begin(client);
    else if (client->ssl != NULL && !client->secure)
        handshake(client);
    else
        take_answer(client);
}

/* Whether something came within `patience_ms`. */
static int turn(int patience_ms) {
    struct epoll_event events[EVENTS];
    int ready = epoll_wait(poller, events, EVENTS, patience_ms);
    for (int i = 0; i < ready; i++) take(events[i].data.ptr);
    return ready > 0;
}

static void run_logins(long count, long at_once) {
    waiting_for = count;
    for (long i = 0; i < at_once && waiting_for > 0; i++) connect_one();
    while (logging_in > 0)
        if (!turn(PATIENCE_MS)) die("nothing happened for %d ms; %d clients wait", PATIENCE_MS, logging_in);
}

static void run_leaves(long count) {
    for (; count > 0 && clients > 0; count--) {
        struct client *client = &table[--clients];
        say(client, "</stream:stream>");
        transport_close(client->fd, client->ssl);
    }
}

static double cpu_seconds(void) {
    struct rusage used;
    getrusage(RUSAGE_SELF, &used);
    return used.ru_utime.tv_sec + used.ru_stime.tv_sec + (used.ru_utime.tv_usec + used.ru_stime.tv_usec) / 1e6;
}

static int by_size(const void *left, const void *right) {
    uint32_t a = *(const uint32_t *)left, b = *(const uint32_t *)right;
    return (a > b) - (a < b);
}

static void report_logins(uint64_t began, double cpu_before) {
    double seconds = (now_ns() - began) / 1e9;
    qsort(latencies_us, completed, sizeof *latencies_us, by_size);
    long last = completed ? completed - 1 : 0;
    printf("{\"seconds\": %.6f, \"clients\": %d, \"completed\": %ld, \"p50_us\": %u, \"p99_us\": %u, \"max_us\": %u, "
           "\"retries\": %ld, \"tls\": \"%s\", \"cpu_seconds\": %.6f}\n",
           seconds, clients, completed, latencies_us[last / 2], latencies_us[last * 99 / 100], latencies_us[last],
           retries, tls_facts, cpu_seconds() - cpu_before);
    fflush(stdout);
}

static void add_servers(char *ports) {
    for (char *port = strtok(ports, ","); port != NULL; port = strtok(NULL, ",")) {
        if (server_count == SERVERS) die("too many ports");
        servers[server_count++] = (struct sockaddr_in){
            .sin_family = AF_INET, .sin_port = htons(atoi(port)), .sin_addr = {htonl(INADDR_LOOPBACK)}};
    }
    if (server_count == 0) die("no port");
}

/* From the words of the command line: PORT[,PORT...] starttls|direct|none TLS-VERSION DOMAIN MECHANISM ACCOUNTS PASSWORD
   [presence]; the version means nothing without TLS. */
static void configure(int count, char **words) {
    if (count < 8)
        die("usage: %s PORT[,PORT...] starttls|direct|none TLS-VERSION DOMAIN MECHANISM ACCOUNTS PASSWORD [presence]", words[0]);
    add_servers(words[1]);
    plan(strcmp(words[2], "starttls") == 0, words[5]);
    if (strcmp(words[2], "none") != 0) tls_configure(words[3]);
    server_name = domain = words[4];
    account_count = atoi(words[6]);
    keys = calloc(account_count, sizeof *keys);
    password = words[7];
    with_presence = count > 8;
    poller = epoll_create1(0);
    signal(SIGPIPE, SIG_IGN); /* OpenSSL writes without MSG_NOSIGNAL */
}
