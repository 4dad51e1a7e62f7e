#include "opencl_source.h"

#pragma clang diagnostic ignored "-Wc23-extensions"

static const char kernels[] = {
#embed "../../kernels.cl" suffix(, )
    0};

static const char tiled[] = {
#embed "opencl/tiled.cl" suffix(, )
    0};

static const char winograd[] = {
#embed "opencl/winograd.cl" suffix(, )
    0};

static const char mma[] = {
#embed "opencl/mma.cl" suffix(, )
    0};

const char *pbe_opencl_source(void) { return kernels; }
const char *pbe_opencl_tiled_source(void) { return tiled; }
const char *pbe_opencl_winograd_source(void) { return winograd; }
const char *pbe_opencl_mma_source(void) { return mma; }
