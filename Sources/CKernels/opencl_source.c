#include "opencl_source.h"

#pragma clang diagnostic ignored "-Wc23-extensions"

static const char text[] = {
#embed "../../kernels.cl" suffix(, )
    0};

const char *pbe_opencl_source(void) { return text; }
size_t pbe_opencl_source_length(void) { return sizeof(text) - 1; }
