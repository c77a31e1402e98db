/* Feeds one chunk to libexpat again and again and prints the CPU nanoseconds each took.

   Usage: expat_loop none|depth PASSES HEADER_BYTES < header and chunk
   "depth" counts open elements in handlers, as whoever cuts a stream into stanzas has to. */
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
    if (!XML_Parse(parser, data, header, 0)) return 1;
    const double begun = cpu_nanoseconds();
    for (long i = 0; i < passes; i++)
        if (!XML_Parse(parser, data + header, length, 0)) {
            fprintf(stderr, "%s\n", XML_ErrorString(XML_GetErrorCode(parser)));
            return 1;
        }
    printf("%.3f\n", (cpu_nanoseconds() - begun) / (double)passes);
    return 0;
}
