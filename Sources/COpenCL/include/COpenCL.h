// OpenCL 1.2 for Swift, without a link-time dependency: loader.c defines the functions below and forwards them to the
// ICD loader that it opens at the first call. Where there is none every call returns CL_PLATFORM_NOT_FOUND_KHR.
#pragma once

#define CL_TARGET_OPENCL_VERSION 120

// Hidden, so that a driver that looks up an OpenCL function by its name never finds the forwarding one.
#pragma GCC visibility push(hidden)
#ifdef __APPLE__
#define CL_SILENCE_DEPRECATION
#include <OpenCL/cl.h>
#include <OpenCL/cl_ext.h>
#else
#include <CL/cl.h>
#include <CL/cl_ext.h>
#endif

/// Whether the ICD loader was opened.
int pbe_opencl_is_open(void);
/// Why the ICD loader wasn't opened; empty when it was.
const char *_Nonnull pbe_opencl_problem(void);
#pragma GCC visibility pop

// Macros with the types that the functions take: Swift imports most of them as Int32.
static const cl_int pbe_CL_PLATFORM_NOT_FOUND_KHR = -1001;
static const cl_device_type pbe_CL_DEVICE_TYPE_ALL = CL_DEVICE_TYPE_ALL;
static const cl_device_type pbe_CL_DEVICE_TYPE_CPU = CL_DEVICE_TYPE_CPU;
static const cl_bool pbe_CL_TRUE = CL_TRUE;
static const cl_mem_flags pbe_CL_MEM_READ_WRITE = CL_MEM_READ_WRITE;
static const cl_program_info pbe_CL_PROGRAM_BINARIES = CL_PROGRAM_BINARIES;
static const cl_program_info pbe_CL_PROGRAM_BINARY_SIZES = CL_PROGRAM_BINARY_SIZES;
static const cl_program_build_info pbe_CL_PROGRAM_BUILD_LOG = CL_PROGRAM_BUILD_LOG;
static const cl_kernel_work_group_info pbe_CL_KERNEL_WORK_GROUP_SIZE = CL_KERNEL_WORK_GROUP_SIZE;
static const cl_buffer_create_type pbe_CL_BUFFER_CREATE_TYPE_REGION = CL_BUFFER_CREATE_TYPE_REGION;
