// A stand-in for NVIDIA's driver, libcuda.so.1: enough of it for cuda-core to load a cubin, find a kernel in it and launch
// it. The launch runs the kernel of the same name on the host, from the library that HOST_KERNELS names, with the very
// parameters that cuda-core hands over. What it was asked is printed, a line a call.
#include <dlfcn.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

typedef int Result;
enum { SUCCESS = 0, INVALID_CONTEXT = 201, NOT_FOUND = 500 };
struct LaunchConfig {
    unsigned grid[3], block[3], shared_bytes;
    void *stream, *attributes;
    unsigned attribute_count;
};

extern "C" {

static Result nothing() { return SUCCESS; }

static Result init(unsigned) { return SUCCESS; }

static Result driver_version(int* version) {
    *version = 13020;
    return SUCCESS;
}

// As NVIDIA's: a thread has the context that it was given, and a new thread has none.
static thread_local void* current_context;

static Result device_count(int* count) {
    *count = 1;
    return SUCCESS;
}

static Result device_get(int* device, int ordinal) {
    *device = ordinal;
    return SUCCESS;
}

static Result retain_primary_context(void** context, int) {
    *context = (void*)0xc0;
    return SUCCESS;
}

static Result context_set_current(void* context) {
    current_context = context;
    return SUCCESS;
}

static Result context_get_current(void** context) {
    *context = current_context;
    return SUCCESS;
}

static Result library_load(void** library, const void* code, void*, void*, unsigned, void*, void*, unsigned) {
    printf("load %s\n", memcmp(code, "\177ELF", 4) == 0 ? "cubin" : "something else");
    *library = (void*)0x11b;
    return SUCCESS;
}

static Result library_get_kernel(void** kernel, void*, const char* name) {
    *kernel = strdup(name);
    return SUCCESS;
}

static Result launch(const LaunchConfig* config, void* kernel, void** parameters, void**) {
    if (!current_context) return INVALID_CONTEXT;
    const char* name = (const char*)kernel;
    static void* host = dlopen(getenv("HOST_KERNELS"), RTLD_NOW | RTLD_LOCAL);
    char symbol[200];
    snprintf(symbol, sizeof symbol, "signature_%s", name);
    const char* (*signature)() = (const char* (*)())dlsym(host, symbol);
    if (!signature) return NOT_FOUND;
    uint64_t raw[64];
    const size_t count = strlen(signature());
    for (size_t i = 0; i < count; ++i) memcpy(&raw[i], parameters[i], 8);
    printf("launch %s stream %p grid %u %u %u block %u %u %u shared %u attributes %u\n", name, config->stream,
           config->grid[0], config->grid[1], config->grid[2], config->block[0], config->block[1], config->block[2],
           config->shared_bytes, config->attribute_count);
    snprintf(symbol, sizeof symbol, "run_%s", name);
    ((void (*)(const uint64_t*, const unsigned*, const unsigned*, int))dlsym(host, symbol))(raw, config->grid, config->block, 0);
    return SUCCESS;
}

static const struct {
    const char* name;
    void* function;
} known[] = {
    {"cuInit", (void*)init},
    {"cuDriverGetVersion", (void*)driver_version},
    {"cuDeviceGetCount", (void*)device_count},
    {"cuDeviceGet", (void*)device_get},
    {"cuDevicePrimaryCtxRetain", (void*)retain_primary_context},
    {"cuCtxSetCurrent", (void*)context_set_current},
    {"cuCtxGetCurrent", (void*)context_get_current},
    {"cuLibraryLoadData", (void*)library_load},
    {"cuLibraryGetKernel", (void*)library_get_kernel},
    {"cuLaunchKernelEx", (void*)launch},
};

// Whatever else is asked for does nothing, successfully; a call that matters would leave its result unset.
Result cuGetProcAddress_v2(const char* symbol, void** function, int, uint64_t, int* status) {
    *function = (void*)nothing;
    for (const auto& each : known) {
        if (strcmp(symbol, each.name) == 0) *function = each.function;
    }
    if (status) *status = 0;
    return SUCCESS;
}

Result cuGetProcAddress(const char* symbol, void** function, int version, uint64_t flags) {
    return cuGetProcAddress_v2(symbol, function, version, flags, 0);
}
}
