/* Feeds one chunk to libexpat again and again and prints the CPU nanoseconds each took.

   Usage: expat_loop none|depth|facts PASSES HEADER_BYTES < header and chunk
   "depth" counts open elements in handlers, as whoever cuts a stream into stanzas has to; "facts" also keeps what a
   server asks of each stanza: its name, to, from, type, id, and the name of its first child. */
#include <expat.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

static long depth, stanzas;

static void XMLCALL start(void *user, const XML_Char *name, const XML_Char **attributes) {
    (void)user, (void)name, (void)attributes;
    depth++;
}

static void XMLCALL end(void *user, const XML_Char *name) {
    (void)user, (void)name;
    if (--depth == 1) stanzas++;
}

static struct {
    char name[128], to[128], from[128], type[32], id[64], child[128];
} facts;

static void keep(char *kept, size_t room, const XML_Char *text) {
    const size_t length = strlen(text);
    if (length < room) memcpy(kept, text, length + 1);
}

static void XMLCALL start_with_facts(void *user, const XML_Char *name, const XML_Char **attributes) {
    (void)user;
    if (++depth == 2) {
        memset(&facts, 0, sizeof facts);
        keep(facts.name, sizeof facts.name, name);
        for (; *attributes; attributes += 2) {
            if (strcmp(attributes[0], "to") == 0) keep(facts.to, sizeof facts.to, attributes[1]);
            else if (strcmp(attributes[0], "from") == 0) keep(facts.from, sizeof facts.from, attributes[1]);
            else if (strcmp(attributes[0], "type") == 0) keep(facts.type, sizeof facts.type, attributes[1]);
            else if (strcmp(attributes[0], "id") == 0) keep(facts.id, sizeof facts.id, attributes[1]);
        }
    } else if (depth == 3 && !facts.child[0]) {
        keep(facts.child, sizeof facts.child, name);
    }
}

static double cpu_nanoseconds(void) {
    struct timespec now;
    clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &now);
    return (double)now.tv_sec * 1e9 + (double)now.tv_nsec;
}

int main(int count, char **arguments) {
    static char data[1 << 20];
    if (count != 4) return 2;
    const long passes = atol(arguments[2]);
    const int header = atoi(arguments[3]);
    const int length = (int)fread(data, 1, sizeof data, stdin) - header;
    XML_Parser parser = XML_ParserCreateNS(NULL, ' ');
    if (strcmp(arguments[1], "depth") == 0) XML_SetElementHandler(parser, start, end);
    if (strcmp(arguments[1], "facts") == 0) XML_SetElementHandler(parser, start_with_facts, end);
    if (!XML_Parse(parser, data, header, 0)) return 1;
    const double begun = cpu_nanoseconds();
    for (long i = 0; i < passes; i++)
        if (!XML_Parse(parser, data + header, length, 0)) {
            fprintf(stderr, "%s\n", XML_ErrorString(XML_GetErrorCode(parser)));
            return 1;
        }
    if (strcmp(arguments[1], "facts") == 0 && !(facts.name[0] && facts.to[0] && facts.from[0] && facts.type[0] && facts.id[0] && facts.child[0]))
        return 1;
    printf("%.3f\n", (cpu_nanoseconds() - begun) / (double)passes);
    return 0;
}
