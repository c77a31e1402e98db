/* The load generator: thousands of XMPP clients in one process, told what to do on standard input.

   Usage: client PORT [TLS-VERSION [resume]], or client PORT websocket
   Commands, each answered with one line of JSON:
     open N               N more clients connect and log in
     close N              N of them leave, spread over the whole table
     churn N              N clients connect, handshake, open a stream and leave
     pingpong A SECONDS   A clients exchange stanzas with the server, one in flight each
     bulk A BYTES SECONDS the same with stanzas of that size
     paced A RATE SECONDS A clients send RATE stanzas a second in all, at fixed times, whatever comes back */
#define _GNU_SOURCE
#include "transport.h"
#include "websocket.h"

#include <sys/epoll.h>
#include <sys/timerfd.h>

enum { EVENTS = 256, LOGINS_AT_ONCE = 64, IN_FLIGHT = 64, READ_BYTES = 65536, TICK_NS = 100000, PATIENCE_MS = 10000 };
enum { BULK_BYTES = 60000 }; /* the longest stanza; more than a socket takes at once if nobody asks for room */

struct client {
    int fd;
    SSL *ssl;
    int index;         /* in the table */
    uint8_t connected; /* the TCP connection stands, or the TLS one */
    uint8_t step;      /* of the login; login_steps: logged in */
    uint32_t received; /* bytes of the answer or stanza that is coming in */
    char *login;
    uint64_t sent_ns[IN_FLIGHT]; /* when the stanzas in flight were due; a ring */
    uint8_t first, in_flight;
    struct frames frames; /* of the answers, where they are messages of a WebSocket */
};

static struct sockaddr_in relay;
static struct client **table;
static int clients, logging_in, poller;
static char stanza[BULK_BYTES + HEAD_BYTES + 1], buffer[READ_BYTES];
static uint32_t stanza_bytes; /* with its frame */
static int websocket;
static int login_steps = LOGIN_STEPS;

/* The command under way. */
static int leave_after_header;
static uint64_t stop_ns;
static long completed, waiting_for;
static uint32_t *latencies_ns;
static long latencies, latencies_room;

/* Of so many bytes on TCP; a message says once more what namespace it is in. */
static void make_stanza(uint32_t bytes) {
    static char text[BULK_BYTES + 1];
    static const char tail[] = "</body></message>";
    if (websocket) bytes += strlen(CLIENT_SPACE);
    int head = snprintf(text, sizeof text,
                        "<message%s to='romeo@bench.example/orchard' from='juliet@bench.example/balcony' type='chat' "
                        "id='5c3f7a91'><body>", websocket ? CLIENT_SPACE : "");
    memset(text + head, 'x', bytes - head);
    memcpy(text + bytes - strlen(tail), tail, strlen(tail));
    if (!websocket) memcpy(stanza, text, bytes);
    stanza_bytes = websocket ? write_message(stanza, text, bytes, 1) : bytes;
}

/* --- the connection, whose end is a failure: the client is always the one that closes --- */

static int receive(struct client *client, char *into, int size) {
    int length = transport_read(client->fd, client->ssl, into, size);
    if (length < 0) die("the relay closed a connection");
    return length;
}

static void say(struct client *client, const char *data, int length) {
    if (!transport_write(client->fd, client->ssl, data, length)) die("the relay does not read");
}

static int secured(struct client *client) {
    int result = tls_handshake(client->ssl);
    if (result < 0) die("TLS handshake failed");
    return result;
}

/* --- login --- */

static void say_next(struct client *client) {
    char said[LOGIN_BYTES];
    const char *request = REQUESTS[client->step];
    client->received = 0;
    if (websocket && client->step > 0) {
        request = EXCHANGES[client->step - 1].said;
        say(client, said, write_message(said, request, strlen(request), 1));
    } else {
        request = websocket ? UPGRADE_REQUEST : request;
        say(client, request, strlen(request));
    }
}

static const char *end_of_answer(int step) {
    if (!websocket) return ANSWERS[step].end;
    return step == 0 ? "\r\n\r\n" : EXCHANGES[step - 1].end; /* a frame ends with its payload */
}

static void leave(struct client *client) {
    transport_close(client->fd, client->ssl);
    free(client->login);
    table[client->index] = table[--clients];
    table[client->index]->index = client->index;
    free(client);
}

static void connect_one(void) {
    struct client *client = calloc(1, sizeof *client);
    client->fd = tcp_connect(&relay);
    client->login = malloc(LOGIN_BYTES);
    client->index = clients;
    table = realloc(table, (clients + 1) * sizeof *table);
    table[clients++] = client;
    logging_in++;
    waiting_for--;
    struct epoll_event event = {.events = EPOLLOUT, .data.ptr = client};
    if (epoll_ctl(poller, EPOLL_CTL_ADD, client->fd, &event) != 0) die("epoll_ctl");
}

static void begin(struct client *client) {
    struct epoll_event event = {.events = EPOLLIN, .data.ptr = client};
    epoll_ctl(poller, EPOLL_CTL_MOD, client->fd, &event);
    if (tls_context != NULL && client->ssl == NULL) client->ssl = tls_begin(client->fd);
    client->connected = client->ssl == NULL || secured(client);
    if (client->connected) say_next(client);
}

static void log_in(struct client *client) {
    if (!client->connected) {
        begin(client);
        return;
    }
    int length = receive(client, client->login + client->received, LOGIN_BYTES - client->received);
    client->received += length;
    if (client->received == LOGIN_BYTES) die("unexpected answer to a login: %.*s", LOGIN_BYTES, client->login);
    if (length == 0 || !ends_with(client->login, client->received, end_of_answer(client->step))) return;
    if (leave_after_header) {
        leave(client);
    } else if (++client->step < login_steps) {
        say_next(client);
        return;
    } else {
        client->received = 0;
        free(client->login);
        client->login = NULL;
    }
    logging_in--;
    if (waiting_for > 0) connect_one();
}

/* --- stanzas --- */

static void send_stanza(struct client *client, uint64_t due_ns) {
    if (client->in_flight == IN_FLIGHT) die("%d stanzas of one client unanswered", IN_FLIGHT);
    client->sent_ns[(client->first + client->in_flight++) % IN_FLIGHT] = due_ns;
    waiting_for++;
    say(client, stanza, stanza_bytes);
}

static void note_latency(uint64_t ns) {
    if (latencies == latencies_room) {
        latencies_room = latencies_room ? 2 * latencies_room : 1 << 20;
        latencies_ns = realloc(latencies_ns, latencies_room * sizeof *latencies_ns);
    }
    latencies_ns[latencies++] = ns > UINT32_MAX ? UINT32_MAX : (uint32_t)ns;
}

/* How many stanzas the next bytes of a client complete. */
static int stanzas_in(struct client *client, const char *data, size_t length) {
    int count = 0, ended;
    if (!websocket) {
        client->received += length;
        count = client->received / stanza_bytes;
        client->received %= stanza_bytes;
        return count;
    }
    for (size_t at = 0; at < length;) {
        at += take_head(&client->frames, data + at, length - at);
        if (!client->frames.inside) break;
        at += take_payload(&client->frames, length - at, &ended);
        count += ended;
    }
    return count;
}

static void receive_stanzas(struct client *client, uint64_t now) {
    int length = receive(client, buffer, sizeof buffer);
    for (int count = stanzas_in(client, buffer, length); count > 0; count--) {
        if (client->in_flight == 0) die("more came back than was sent");
        note_latency(now - client->sent_ns[client->first]);
        client->first = (client->first + 1) % IN_FLIGHT;
        client->in_flight--;
        waiting_for--;
        completed++;
        if (now < stop_ns) send_stanza(client, now);
    }
}

/* --- the loop --- */

static int turn(void) {
    struct epoll_event events[EVENTS];
    int ready = epoll_wait(poller, events, EVENTS, PATIENCE_MS), ticks = 0;
    if (ready == 0) die("nothing happened for %d ms", PATIENCE_MS);
    for (int i = 0; i < ready; i++) {
        struct client *client = events[i].data.ptr;
        if (client == NULL)
            ticks++;
        else if (client->step < login_steps)
            log_in(client);
        else
            receive_stanzas(client, now_ns());
    }
    return ticks;
}

static int by_size(const void *left, const void *right) {
    uint32_t a = *(const uint32_t *)left, b = *(const uint32_t *)right;
    return (a > b) - (a < b);
}

static double quantile_us(double part) { return latencies ? latencies_ns[(long)(part * (latencies - 1))] / 1e3 : 0.0; }

static void report(uint64_t began) {
    double seconds = (now_ns() - began) / 1e9;
    qsort(latencies_ns, latencies, sizeof *latencies_ns, by_size);
    printf("{\"seconds\": %.6f, \"clients\": %d, \"completed\": %ld, \"p50_us\": %.1f, \"p99_us\": %.1f, \"p999_us\": %.1f, "
           "\"max_us\": %.1f, \"resumed\": %ld, \"tls\": \"%s\"}\n",
           seconds, clients, completed, quantile_us(0.5), quantile_us(0.99), quantile_us(0.999),
           quantile_us(1.0), resumed, tls_facts);
    fflush(stdout);
}

static void run_logins(long count, int leave_early) {
    leave_after_header = leave_early;
    completed = waiting_for = count;
    for (int i = 0; i < LOGINS_AT_ONCE && waiting_for > 0; i++) connect_one();
    while (logging_in > 0) turn();
}

static void run_pingpong(int active, double seconds) {
    stop_ns = now_ns() + (uint64_t)(seconds * 1e9);
    for (int i = 0; i < active; i++) send_stanza(table[i], now_ns());
    while (waiting_for > 0) turn();
}

static void run_bulk(int active, int bytes, double seconds) {
    int room = 4 * BULK_BYTES;
    make_stanza(bytes);
    for (int i = 0; i < active; i++) setsockopt(table[i]->fd, SOL_SOCKET, SO_SNDBUF, &room, sizeof room);
    run_pingpong(active, seconds);
    make_stanza(STANZA_BYTES);
}

static void run_paced(int active, double rate, double seconds) {
    struct itimerspec every = {.it_interval.tv_nsec = TICK_NS, .it_value.tv_nsec = TICK_NS};
    struct epoll_event event = {.events = EPOLLIN, .data.ptr = NULL};
    long total = (long)(rate * seconds), sent = 0;
    int timer = timerfd_create(CLOCK_MONOTONIC, TFD_NONBLOCK);
    uint64_t expirations, began = now_ns();
    timerfd_settime(timer, 0, &every, NULL);
    epoll_ctl(poller, EPOLL_CTL_ADD, timer, &event);
    while (sent < total || waiting_for > 0) {
        if (turn() == 0 || read(timer, &expirations, sizeof expirations) != sizeof expirations) continue;
        for (uint64_t now = now_ns(), due; sent < total && (due = began + (uint64_t)(sent * 1e9 / rate)) <= now; sent++)
            send_stanza(table[sent % active], due);
    }
    close(timer);
}

int main(int count, char **arguments) {
    if (count < 2) die("usage: client PORT [TLS-VERSION [resume] | websocket]");
    relay = (struct sockaddr_in){.sin_family = AF_INET, .sin_port = htons(atoi(arguments[1])), .sin_addr = {htonl(INADDR_LOOPBACK)}};
    websocket = count > 2 && strcmp(arguments[2], "websocket") == 0;
    if (websocket)
        login_steps = 1 + EXCHANGE_COUNT;
    else if (count > 2)
        tls_configure(arguments[2]);
    resume = count > 3;
    poller = epoll_create1(0);
    make_stanza(STANZA_BYTES);
    char line[128], name[16];
    double first = 0, second = 0, third = 0;
    while (fgets(line, sizeof line, stdin) != NULL) {
        if (sscanf(line, "%15s %lf %lf %lf", name, &first, &second, &third) < 2) die("bad command: %s", line);
        uint64_t began = now_ns();
        completed = latencies = resumed = stop_ns = 0;
        if (strcmp(name, "open") == 0)
            run_logins((long)first, 0);
        else if (strcmp(name, "churn") == 0)
            run_logins((long)first, 1);
        else if (strcmp(name, "close") == 0)
            for (long i = 0; i < (long)first; i++) leave(table[(i * 7919) % clients]);
        else if (strcmp(name, "pingpong") == 0 && first <= clients)
            run_pingpong((int)first, second);
        else if (strcmp(name, "bulk") == 0 && first <= clients && second >= STANZA_BYTES && second <= BULK_BYTES)
            run_bulk((int)first, (int)second, third);
        else if (strcmp(name, "paced") == 0 && first <= clients)
            run_paced((int)first, second, third);
        else
            die("bad command: %s", line);
        report(began);
    }
    return 0;
}
