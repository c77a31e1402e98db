/* Preloaded, it counts the calls of malloc, calloc and realloc of the whole process. */
#include <stddef.h>

extern void *__libc_malloc(size_t);
extern void *__libc_calloc(size_t, size_t);
extern void *__libc_realloc(void *, size_t);

unsigned long malloc_calls;

void *malloc(size_t size) {
    malloc_calls++;
    return __libc_malloc(size);
}

void *calloc(size_t count, size_t size) {
    malloc_calls++;
    return __libc_calloc(count, size);
}

void *realloc(void *memory, size_t size) {
    malloc_calls++;
    return __libc_realloc(memory, size);
}
