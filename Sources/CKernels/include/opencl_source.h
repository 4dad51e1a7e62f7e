// The text of kernels.cl, embedded at build time so that one file can be copied to a GPU node.
#pragma once
#include <stddef.h>

/// The OpenCL C source, zero-terminated.
const char *_Nonnull pbe_opencl_source(void);
/// Its length in bytes, without the terminating zero.
size_t pbe_opencl_source_length(void);
