// A management library of a machine with GPUs that the test describes in environment variables.
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static int number(const char* name) { return getenv(name) ? atoi(getenv(name)) : 0; }

int nvmlInit_v2(void) { return number("FAKE_INIT_FAILS"); }
int nvmlDeviceGetCount_v2(int* n) { return *n = number("FAKE_GPUS"), 0; }
int nvmlSystemGetCudaDriverVersion_v2(int* v) { return *v = number("FAKE_DRIVER"), 0; }
int nvmlDeviceGetHandleByIndex_v2(int i, void** h) { return *h = (void*)(long)(i + 1), 0; }
int nvmlDeviceGetName(void* h, char* text, unsigned n) {
    return snprintf(text, n, "Fake %ld", (long)h - 1), 0;
}
int nvmlDeviceGetUUID(void* h, char* text, unsigned n) {
    return snprintf(text, n, "GPU-%c0", (int)('a' + (long)h - 1)), 0;
}
int nvmlDeviceGetCudaComputeCapability(void* h, int* major, int* minor) {
    (void)h;
    return *major = 9, *minor = 0, 0;
}
