/* libFuzzer's entry: embeds Python, loads the target that FUZZ_TARGET names and calls it with every input. */
#include <Python.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>

static int (*target)(const uint8_t *data, size_t size);

static void fail(void) {
    PyErr_Print();
    abort();
}

int LLVMFuzzerInitialize(int *argc, char ***argv) {
    (void)argc;
    (void)argv;
    const char *name = getenv("FUZZ_TARGET");
    if (name == NULL) {
        fputs("FUZZ_TARGET names no target\n", stderr);
        exit(2);
    }
    Py_InitializeEx(0); /* signals are libFuzzer's */
    PyObject *module = PyImport_ImportModule(name);
    PyObject *entry = module ? PyObject_GetAttrString(module, "ENTRY") : NULL;
    target = entry ? (int (*)(const uint8_t *, size_t))PyCapsule_GetPointer(entry, "run") : NULL;
    if (target == NULL) fail();
    return 0;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    if (target(data, size) != 0) fail();
    return 0;
}
