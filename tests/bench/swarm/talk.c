/* The load generator that talks: clients of a real server, in pairs and in a room, with every delivery accounted for.

   Usage: as that of login, with the same commands, and, each answered with one line of JSON:
     pairs CLIENTS IN_FLIGHT SECONDS  clients 0 and 1, 2 and 3 ... exchange chat messages. IN_FLIGHT of each pair are under
                                      way: whoever gets one sends one
     ask XML                          client 0 sends an iq whose id is "ask" and waits for its result
     enter ROOM N AT_ONCE             N more clients enter a room, AT_ONCE of them at the same time
     room SENDERS IN_FLIGHT MESSAGES  the first SENDERS occupants send MESSAGES in all, each keeping IN_FLIGHT under way
                                      until every occupant has them

   Sender and number stand in every body. Each receiver expects each sender's next number and nothing else: a message that
   is lost, doubled, out of order, cut or bounced ends the program. */
#define _GNU_SOURCE
#include "login.h"

enum { SENDERS = 16, RING = 64, SENDER_DIGITS = 6, COUNT_DIGITS = 8, BODY_BYTES = 104, MESSAGE_BYTES = 512, JID_BYTES = 128 };
enum { LINE_BYTES = 4096, READ_BYTES = 65536, TAIL_BYTES = 16, QUIET_MS = 50, QUIET_LIMIT_MS = 2000 };
enum { SELF_PRESENCE = 1, SUBJECT = 2, ENTERED = 3 };

static const char BODY[] = "<body>", BODY_END[] = "</body>";
enum { BODY_START = sizeof BODY - 1, WHOLE_BODY = BODY_START + BODY_BYTES + sizeof BODY_END - 1 };

struct talker { /* what a client has to say, and what it has heard */
    char jid[JID_BYTES];
    char message[MESSAGE_BYTES];
    uint16_t size, id_at, body_at; /* of the message, and of the numbers in it */
    uint16_t kept;                 /* bytes of `rest` */
    uint8_t entering, entered;     /* the room; which parts of ENTERED have come */
    char rest[WHOLE_BODY];         /* the end of what came last, if it may be the beginning of something */
    uint32_t sent;                 /* messages ever */
    uint32_t next[SENDERS];        /* which of each sender's is expected; [0] is the partner in a pair */
    uint64_t sent_ns[RING];
    int missing[RING]; /* occupants who do not have it yet */
};

static struct talker *talkers; /* of the clients of the same number */
static char *room;
static int occupants, asking, answered;
static long entering;
static char answer_text[ANSWER_BYTES + 1];

/* The command under way. */
static enum { NOTHING, PAIRS, ROOM } traffic;
static uint64_t stop_ns;
static long under_way, to_send;
static int senders;
static uint32_t *delays_us;
static long delays, delays_room;

/* --- messages --- */

static void make_message(struct client *client, const char *to, const char *type) {
    struct talker *talker = &talkers[client->number];
    char filling[BODY_BYTES + 1];
    int numbers = SENDER_DIGITS + 1 + COUNT_DIGITS;
    memset(filling, 'x', BODY_BYTES);
    filling[BODY_BYTES - numbers] = 0;
    talker->id_at = snprintf(talker->message, MESSAGE_BYTES, "<message to='%s' type='%s' id='", to, type);
    talker->body_at =
        talker->id_at + snprintf(talker->message + talker->id_at, MESSAGE_BYTES - talker->id_at, "%0*d.%0*d'>%s",
                                 SENDER_DIGITS, client->number, COUNT_DIGITS, 0, BODY);
    talker->size = talker->body_at + snprintf(talker->message + talker->body_at, MESSAGE_BYTES - talker->body_at,
                                              "%0*d.%0*d%s%s</message>", SENDER_DIGITS, client->number, COUNT_DIGITS, 0,
                                              filling, BODY_END);
    talker->id_at += SENDER_DIGITS + 1;
    talker->body_at += SENDER_DIGITS + 1;
}

static void write_count(char *into, uint32_t count) {
    for (int digit = COUNT_DIGITS - 1; digit >= 0; digit--, count /= 10) into[digit] = '0' + count % 10;
}

static long read_number(const char *from, int digits) {
    long number = 0;
    for (int digit = 0; digit < digits; digit++) {
        if (from[digit] < '0' || from[digit] > '9') return -1;
        number = 10 * number + from[digit] - '0';
    }
    return number;
}

static void send_messages(struct client *client, int count, uint64_t now) {
    static char out[RING * MESSAGE_BYTES];
    struct talker *talker = &talkers[client->number];
    int length = 0;
    for (int i = 0; i < count; i++, talker->sent++) {
        char *message = out + length;
        memcpy(message, talker->message, talker->size);
        write_count(message + talker->id_at, talker->sent);
        write_count(message + talker->body_at, talker->sent);
        talker->sent_ns[talker->sent % RING] = now;
        talker->missing[talker->sent % RING] = occupants;
        length += talker->size;
    }
    under_way += count;
    if (!transport_write(client->fd, client->ssl, out, length)) die("the server does not read from client %d", client->number);
}

static void note_delay(uint64_t ns) {
    if (delays == delays_room) {
        delays_room = delays_room ? 2 * delays_room : 1 << 20;
        delays_us = realloc(delays_us, delays_room * sizeof *delays_us);
    }
    delays_us[delays++] = ns / 1000;
}

/* One more occupant has the sender's message; the last one lets the sender go on. */
static void one_less(struct client *sender, uint32_t number, uint64_t now) {
    struct talker *talker = &talkers[sender->number];
    if (--talker->missing[number % RING] > 0) return;
    note_delay(now - talker->sent_ns[number % RING]);
    under_way--;
    if (to_send > 0) {
        to_send--;
        send_messages(sender, 1, now);
    }
}

static void deliver(struct client *client, const char *body, uint64_t now) {
    struct talker *talker = &talkers[client->number];
    long sender = read_number(body, SENDER_DIGITS), number = read_number(body + SENDER_DIGITS + 1, COUNT_DIGITS);
    int awaited = traffic == PAIRS ? sender == (client->number ^ 1) : traffic == ROOM && sender >= 0 && sender < senders;
    if (!awaited || memcmp(body + BODY_BYTES, BODY_END, sizeof BODY_END - 1) != 0)
        die("client %d was sent what is not for it: %.*s", client->number, WHOLE_BODY, body);
    uint32_t *next = &talker->next[traffic == PAIRS ? 0 : sender];
    if (number != *next)
        die("client %d was sent message %ld of client %ld instead of %u", client->number, number, sender, *next);
    ++*next;
    completed++;
    if (traffic == ROOM) {
        one_less(&table[sender], number, now);
        return;
    }
    note_delay(now - talkers[sender].sent_ns[number % RING]);
    under_way--;
}

/* --- what comes --- */

static int contains(const char *data, int length, const char *text) {
    return memmem(data, length, text, strlen(text)) != NULL;
}

static void enter_one(void) {
    struct client *client = &table[occupants++];
    talkers[client->number].entered = 0;
    waiting_for--;
    entering++;
    talkers[client->number].entering = 1;
    say(client, "<presence to='%s/n%d'><x xmlns='http://jabber.org/protocol/muc'><history maxstanzas='0'/></x></presence>",
        room, client->number);
}

static void look_for_entry(struct client *client, const char *data, int length) {
    struct talker *talker = &talkers[client->number];
    if (contains(data, length, " type='error'") || contains(data, length, " type=\"error\""))
        die("client %d cannot enter: %.*s", client->number, length, data);
    if (contains(data, length, "code='110'") || contains(data, length, "code=\"110\"")) talker->entered |= SELF_PRESENCE;
    if (contains(data, length, "<subject")) talker->entered |= SUBJECT;
    if (talker->entered != ENTERED) return;
    talker->entering = 0;
    entering--;
    if (waiting_for > 0) enter_one();
}

static void look_for_answer(const char *data, int length) {
    int known = strlen(answer_text);
    if (known + length > ANSWER_BYTES) die("no answer in: %s", answer_text);
    memcpy(answer_text + known, data, length);
    answer_text[known + length] = 0;
    if (!strstr(answer_text, "id='ask'") && !strstr(answer_text, "id=\"ask\"")) return;
    if (strstr(answer_text, "type='error'") || strstr(answer_text, "type=\"error\"")) die("refused: %s", answer_text);
    answered = strstr(answer_text, "type='result'") || strstr(answer_text, "type=\"result\"");
}

static void hear(struct client *client) {
    static char data[WHOLE_BODY + READ_BYTES];
    struct talker *talker = &talkers[client->number];
    memcpy(data, talker->rest, talker->kept);
    int length = transport_read(client->fd, client->ssl, data + talker->kept, READ_BYTES), least = BODY_START - 1;
    if (length < 0) die("client %d lost its session", client->number);
    if (asking && client->number == 0) look_for_answer(data + talker->kept, length);
    length += talker->kept;
    uint64_t now = now_ns();
    char *at = data, *end = data + length, *body;
    long before = completed;
    while ((body = memmem(at, end - at, BODY, BODY_START)) != NULL && body + WHOLE_BODY <= end) {
        deliver(client, body + BODY_START, now);
        at = body + WHOLE_BODY;
    }
    if (talker->entering) {
        look_for_entry(client, data, length);
        least = TAIL_BYTES;
    } else if (completed == before && contains(data, length, " type='error'")) {
        die("client %d was sent an error: %.*s", client->number, length, data);
    }
    talker->kept = body != NULL ? end - body : end - at < least ? end - at : least;
    memcpy(talker->rest, end - talker->kept, talker->kept);
    if (traffic == PAIRS && completed > before && now < stop_ns) send_messages(client, completed - before, now);
}

static void bound(struct client *client, const char *answer) {
    struct talker *talker = &talkers[client->number];
    const char *begin = strstr(answer, "<jid>"), *end = strstr(answer, "</jid>");
    *talker = (struct talker){0};
    if (begin == NULL || end == NULL || end - begin - 5 >= JID_BYTES) die("bound to no JID: %s", answer);
    memcpy(talker->jid, begin + 5, end - begin - 5);
}

/* --- commands --- */

static void wait_while(const long *count, const char *what) {
    while (*count > 0)
        if (!turn(PATIENCE_MS)) die("nothing happened for %d ms; %ld %s", PATIENCE_MS, *count, what);
}

/* Whatever comes when all has been delivered is one too many, and ends the program. */
static void wait_until_quiet(void) {
    for (uint64_t limit = now_ns() + QUIET_LIMIT_MS * 1000000ull; now_ns() < limit && turn(QUIET_MS);) continue;
}

static void run_pairs(int count, int in_flight, double seconds) {
    if (count > clients || count % 2 != 0 || in_flight < 1 || in_flight > RING) die("no such pairs");
    traffic = PAIRS;
    stop_ns = now_ns() + (uint64_t)(seconds * 1e9);
    for (int i = 0; i < count; i++) {
        make_message(&table[i], talkers[i ^ 1].jid, "chat");
        talkers[i].next[0] = talkers[i ^ 1].sent;
    }
    for (int i = 0; i < count; i++) send_messages(&table[i], (in_flight + (i % 2 == 0)) / 2, now_ns());
    wait_while(&under_way, "messages are missing");
}

static void run_room(int count, int in_flight, long messages) {
    if (count > occupants || count > SENDERS || in_flight < 1 || in_flight > RING) die("no such senders");
    traffic = ROOM;
    senders = count;
    for (int i = 0; i < senders; i++) make_message(&table[i], room, "groupchat");
    for (int i = 0; i < occupants; i++)
        for (int sender = 0; sender < senders; sender++) talkers[i].next[sender] = talkers[sender].sent;
    to_send = messages;
    for (int i = 0; i < senders * in_flight && to_send > 0; i++, to_send--) send_messages(&table[i % senders], 1, now_ns());
    wait_while(&under_way, "messages have not reached all occupants");
}

static void run_enter(const char *name, long count, long at_once) {
    if (occupants + count > clients) die("%ld occupants, but %d clients", occupants + count, clients);
    if (room == NULL) room = strdup(name);
    waiting_for = count;
    for (long i = 0; i < at_once && waiting_for > 0; i++) enter_one();
    wait_while(&entering, "clients have not entered");
}

static void run_ask(const char *xml) {
    answer_text[0] = answered = 0;
    asking = 1;
    transport_write(table[0].fd, table[0].ssl, xml, strlen(xml));
    while (!answered)
        if (!turn(PATIENCE_MS)) die("no answer to %s", xml);
    asking = 0;
}

static double quantile_us(double part) { return delays ? delays_us[(long)(part * (delays - 1))] : 0.0; }

static void report_talk(uint64_t began, double cpu_before) {
    double seconds = (now_ns() - began) / 1e9, cpu = cpu_seconds() - cpu_before;
    wait_until_quiet();
    traffic = NOTHING;
    qsort(delays_us, delays, sizeof *delays_us, by_size);
    printf("{\"seconds\": %.6f, \"completed\": %ld, \"messages\": %ld, \"p50_us\": %.0f, \"p99_us\": %.0f, \"max_us\": %.0f, "
           "\"cpu_seconds\": %.6f}\n",
           seconds, completed, delays, quantile_us(0.5), quantile_us(0.99), quantile_us(1.0), cpu);
    fflush(stdout);
}

int main(int count, char **arguments) {
    configure(count, arguments);
    talkers = calloc(DESCRIPTORS, sizeof *talkers);
    char line[LINE_BYTES], word[JID_BYTES];
    double first = 0, second = 1, third = 0;
    while (fgets(line, sizeof line, stdin) != NULL) {
        uint64_t began = now_ns();
        double cpu_before = cpu_seconds();
        completed = retries = delays = 0;
        if (sscanf(line, "open %lf %lf", &first, &second) == 2) {
            run_logins((long)first, (long)second);
            report_logins(began, cpu_before);
            continue;
        }
        if (sscanf(line, "close %lf", &first) == 1)
            run_leaves((long)first);
        else if (sscanf(line, "pairs %lf %lf %lf", &first, &second, &third) == 3)
            run_pairs((int)first, (int)second, third);
        else if (sscanf(line, "room %lf %lf %lf", &first, &second, &third) == 3)
            run_room((int)first, (int)second, (long)third);
        else if (sscanf(line, "enter %127s %lf %lf", word, &first, &second) == 3)
            run_enter(word, (long)first, (long)second);
        else if (strncmp(line, "ask ", 4) == 0)
            run_ask(line + 4);
        else
            die("bad command: %s", line);
        report_talk(began, cpu_before);
    }
    return 0;
}
