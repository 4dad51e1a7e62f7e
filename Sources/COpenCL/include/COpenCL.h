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

// MARK: - Command buffers
//
// Declared here and not taken from cl_ext.h, which doesn't have them everywhere.

/// A recorded list of commands (cl_khr_command_buffer).
typedef struct pbe_command_buffer *pbe_command_buffer;

/// The functions of cl_khr_command_buffer that this project calls.
typedef struct {
  pbe_command_buffer _Nullable (*_Nonnull create)(
      cl_uint count, const cl_command_queue _Nullable *_Nonnull queues, const cl_ulong *_Nullable properties,
      cl_int *_Nullable status);
  cl_int (*_Nonnull kernel)(
      pbe_command_buffer _Nullable buffer, cl_command_queue _Nullable queue, const cl_ulong *_Nullable properties,
      cl_kernel _Nullable kernel, cl_uint dimensions, const size_t *_Nullable offset, const size_t *_Nullable global,
      const size_t *_Nullable local, cl_uint waits, const cl_uint *_Nullable wait_list, cl_uint *_Nullable sync_point,
      void *_Nullable mutable_handle);
  cl_int (*_Nonnull finalize)(pbe_command_buffer _Nullable buffer);
  cl_int (*_Nonnull enqueue)(
      cl_uint count, cl_command_queue _Nullable *_Nullable queues, pbe_command_buffer _Nullable buffer, cl_uint waits,
      const cl_event _Nullable *_Nullable wait_list, cl_event _Nullable *_Nullable event);
  cl_int (*_Nonnull release)(pbe_command_buffer _Nullable buffer);
} pbe_command_buffer_functions;

/// Finds the functions of a platform; returns whether it has them all.
int pbe_find_command_buffer_functions(
    cl_platform_id _Nullable platform, pbe_command_buffer_functions *_Nonnull functions);
#pragma GCC visibility pop

static const cl_device_info pbe_CL_DEVICE_COMMAND_BUFFER_CAPABILITIES_KHR = 0x12A9;
static const cl_device_info pbe_CL_DEVICE_COMMAND_BUFFER_REQUIRED_QUEUE_PROPERTIES_KHR = 0x12AA;
static const cl_ulong pbe_CL_COMMAND_BUFFER_CAPABILITY_SIMULTANEOUS_USE_KHR = 1 << 2;
static const cl_ulong pbe_CL_COMMAND_BUFFER_FLAGS_KHR = 0x1293;
static const cl_ulong pbe_CL_COMMAND_BUFFER_SIMULTANEOUS_USE_KHR = 1 << 0;

// Macros with the types that the functions take: Swift imports most of them as Int32.
static const cl_int pbe_CL_PLATFORM_NOT_FOUND_KHR = -1001;
static const cl_device_type pbe_CL_DEVICE_TYPE_ALL = CL_DEVICE_TYPE_ALL;
static const cl_device_type pbe_CL_DEVICE_TYPE_CPU = CL_DEVICE_TYPE_CPU;
static const cl_device_type pbe_CL_DEVICE_TYPE_GPU = CL_DEVICE_TYPE_GPU;
static const cl_command_queue_properties pbe_CL_QUEUE_PROFILING_ENABLE = CL_QUEUE_PROFILING_ENABLE;
static const cl_profiling_info pbe_CL_PROFILING_COMMAND_START = CL_PROFILING_COMMAND_START;
static const cl_profiling_info pbe_CL_PROFILING_COMMAND_END = CL_PROFILING_COMMAND_END;
static const cl_bool pbe_CL_TRUE = CL_TRUE;
static const cl_mem_flags pbe_CL_MEM_READ_WRITE = CL_MEM_READ_WRITE;
static const cl_program_info pbe_CL_PROGRAM_BINARIES = CL_PROGRAM_BINARIES;
static const cl_program_info pbe_CL_PROGRAM_BINARY_SIZES = CL_PROGRAM_BINARY_SIZES;
static const cl_program_build_info pbe_CL_PROGRAM_BUILD_LOG = CL_PROGRAM_BUILD_LOG;
static const cl_kernel_work_group_info pbe_CL_KERNEL_WORK_GROUP_SIZE = CL_KERNEL_WORK_GROUP_SIZE;
