/* The load generator for real servers: thousands of XMPP clients in one process, which log in and stay.

   Usage: login PORT starttls|direct|none TLS-VERSION DOMAIN MECHANISM ACCOUNTS PASSWORD [presence]
   MECHANISM is SCRAM-SHA-1, SCRAM-SHA-256, PLAIN or ANONYMOUS.
   The accounts are user0, user1 ...; client n is user n modulo ACCOUNTS, with a resource of its own.
   Commands, each answered with one line of JSON:
     open N AT_ONCE  N more clients log in, AT_ONCE of them at the same time; a login lasts from its first connect.
                     One whose connection ends begins anew: a server whose backlog overflows may reset some
     close N         the N last ones leave */
#define _GNU_SOURCE
#include "login.h"

static void bound(struct client *client, const char *answer) {
    (void)client;
    (void)answer;
}

static void hear(struct client *client) {
    static char ignored[65536];
    if (transport_read(client->fd, client->ssl, ignored, sizeof ignored) < 0)
        die("client %d lost its session", client->number);
}

int main(int count, char **arguments) {
    configure(count, arguments);
    char line[128], name[16];
    long first = 0, second = 1;
    while (fgets(line, sizeof line, stdin) != NULL) {
        if (sscanf(line, "%15s %ld %ld", name, &first, &second) < 2) die("bad command: %s", line);
        uint64_t began = now_ns();
        double cpu_before = cpu_seconds();
        completed = retries = 0;
        if (strcmp(name, "open") == 0)
            run_logins(first, second);
        else if (strcmp(name, "close") == 0)
            run_leaves(first);
        else
            die("bad command: %s", line);
        report_logins(began, cpu_before);
    }
    return 0;
}
