// The texts of the OpenCL kernels, embedded at build time so that one file can be copied to a GPU node. All are
// zero-terminated OpenCL C.
#pragma once

/// kernels.cl: everything that every device needs.
const char *_Nonnull pbe_opencl_source(void);
/// opencl/tiled.cl, which follows kernels.cl.
const char *_Nonnull pbe_opencl_tiled_source(void);
/// opencl/winograd.cl, which follows kernels.cl.
const char *_Nonnull pbe_opencl_winograd_source(void);
/// opencl/mma.cl, which follows kernels.cl.
const char *_Nonnull pbe_opencl_mma_source(void);
