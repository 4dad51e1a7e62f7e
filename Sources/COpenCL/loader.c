#include "COpenCL.h"
#include <dlfcn.h>
#include <pthread.h>
#include <stddef.h>
#include <string.h>

static pthread_once_t once = PTHREAD_ONCE_INIT;
static void *library;
static char problem[512];

static void open_library(void) {
  static const char *const names[] = {
      "libOpenCL.so.1",
      "libOpenCL.so",
      "/System/Library/Frameworks/OpenCL.framework/OpenCL",
  };
  for (size_t i = 0; i < sizeof names / sizeof names[0] && !library; i++) {
    library = dlopen(names[i], RTLD_NOW | RTLD_LOCAL);
    // The first name's message is the one that tells what to install.
    const char *message = library ? NULL : dlerror();
    if (message && !problem[0]) strncpy(problem, message, sizeof problem - 1);
  }
  if (library) problem[0] = 0;
}

static void *find(const char *name) {
  pthread_once(&once, open_library);
  return library ? dlsym(library, name) : NULL;
}

int pbe_opencl_is_open(void) {
  pthread_once(&once, open_library);
  return library != NULL;
}

const char *pbe_opencl_problem(void) {
  pthread_once(&once, open_library);
  return problem;
}

// Looks up `name` once; racing threads find the same address.
#define RESOLVE(name)                                                                                        \
  static _Atomic(void *) address;                                                                            \
  void *function = address;                                                                                  \
  if (!function) address = function = find(#name)

// A function that returns its status.
#define FORWARD(name, parameters, arguments)                                                                 \
  cl_int name parameters {                                                                                   \
    RESOLVE(name);                                                                                           \
    return function ? ((cl_int(*) parameters)function)arguments : pbe_CL_PLATFORM_NOT_FOUND_KHR;             \
  }

// A function that returns a handle, and its status through its last parameter.
#define FORWARD_HANDLE(type, name, parameters, arguments)                                                    \
  type name parameters {                                                                                     \
    RESOLVE(name);                                                                                           \
    if (function) return ((type(*) parameters)function)arguments;                                            \
    if (status) *status = pbe_CL_PLATFORM_NOT_FOUND_KHR;                                                     \
    return NULL;                                                                                             \
  }

// MARK: - Platforms and devices

FORWARD(clGetPlatformIDs, (cl_uint count, cl_platform_id *platforms, cl_uint *found), (count, platforms, found))
FORWARD(
    clGetPlatformInfo,
    (cl_platform_id platform, cl_platform_info name, size_t size, void *value, size_t *size_ret),
    (platform, name, size, value, size_ret))
FORWARD(
    clGetDeviceIDs,
    (cl_platform_id platform, cl_device_type type, cl_uint count, cl_device_id *devices, cl_uint *found),
    (platform, type, count, devices, found))
FORWARD(
    clGetDeviceInfo, (cl_device_id device, cl_device_info name, size_t size, void *value, size_t *size_ret),
    (device, name, size, value, size_ret))

void *clGetExtensionFunctionAddressForPlatform(cl_platform_id platform, const char *name) {
  RESOLVE(clGetExtensionFunctionAddressForPlatform);
  return function ? ((void *(*)(cl_platform_id, const char *))function)(platform, name) : NULL;
}

// MARK: - Contexts and queues

FORWARD_HANDLE(
    cl_context, clCreateContext,
    (const cl_context_properties *properties, cl_uint count, const cl_device_id *devices,
     void(CL_CALLBACK *notify)(const char *, const void *, size_t, void *), void *user, cl_int *status),
    (properties, count, devices, notify, user, status))
FORWARD(clReleaseContext, (cl_context context), (context))
FORWARD_HANDLE(
    cl_command_queue, clCreateCommandQueue,
    (cl_context context, cl_device_id device, cl_command_queue_properties properties, cl_int *status),
    (context, device, properties, status))
FORWARD(clReleaseCommandQueue, (cl_command_queue queue), (queue))
FORWARD(clFlush, (cl_command_queue queue), (queue))
FORWARD(clFinish, (cl_command_queue queue), (queue))

// MARK: - Memory

FORWARD_HANDLE(
    cl_mem, clCreateBuffer, (cl_context context, cl_mem_flags flags, size_t size, void *host, cl_int *status),
    (context, flags, size, host, status))
FORWARD(clReleaseMemObject, (cl_mem memory), (memory))
FORWARD(
    clEnqueueReadBuffer,
    (cl_command_queue queue, cl_mem buffer, cl_bool blocking, size_t offset, size_t size, void *pointer,
     cl_uint waits, const cl_event *wait_list, cl_event *event),
    (queue, buffer, blocking, offset, size, pointer, waits, wait_list, event))
FORWARD(
    clEnqueueWriteBuffer,
    (cl_command_queue queue, cl_mem buffer, cl_bool blocking, size_t offset, size_t size, const void *pointer,
     cl_uint waits, const cl_event *wait_list, cl_event *event),
    (queue, buffer, blocking, offset, size, pointer, waits, wait_list, event))
FORWARD(
    clEnqueueFillBuffer,
    (cl_command_queue queue, cl_mem buffer, const void *pattern, size_t pattern_size, size_t offset, size_t size,
     cl_uint waits, const cl_event *wait_list, cl_event *event),
    (queue, buffer, pattern, pattern_size, offset, size, waits, wait_list, event))

// MARK: - Programs and kernels

FORWARD_HANDLE(
    cl_program, clCreateProgramWithSource,
    (cl_context context, cl_uint count, const char **strings, const size_t *lengths, cl_int *status),
    (context, count, strings, lengths, status))
FORWARD_HANDLE(
    cl_program, clCreateProgramWithBinary,
    (cl_context context, cl_uint count, const cl_device_id *devices, const size_t *lengths,
     const unsigned char **binaries, cl_int *binary_status, cl_int *status),
    (context, count, devices, lengths, binaries, binary_status, status))
FORWARD(
    clBuildProgram,
    (cl_program program, cl_uint count, const cl_device_id *devices, const char *options,
     void(CL_CALLBACK *notify)(cl_program, void *), void *user),
    (program, count, devices, options, notify, user))
FORWARD(
    clGetProgramInfo, (cl_program program, cl_program_info name, size_t size, void *value, size_t *size_ret),
    (program, name, size, value, size_ret))
FORWARD(
    clGetProgramBuildInfo,
    (cl_program program, cl_device_id device, cl_program_build_info name, size_t size, void *value,
     size_t *size_ret),
    (program, device, name, size, value, size_ret))
FORWARD(clReleaseProgram, (cl_program program), (program))
FORWARD_HANDLE(
    cl_kernel, clCreateKernel, (cl_program program, const char *name, cl_int *status), (program, name, status))
FORWARD(clReleaseKernel, (cl_kernel kernel), (kernel))
FORWARD(
    clSetKernelArg, (cl_kernel kernel, cl_uint index, size_t size, const void *value), (kernel, index, size, value))
FORWARD(
    clGetKernelWorkGroupInfo,
    (cl_kernel kernel, cl_device_id device, cl_kernel_work_group_info name, size_t size, void *value,
     size_t *size_ret),
    (kernel, device, name, size, value, size_ret))
FORWARD(
    clEnqueueNDRangeKernel,
    (cl_command_queue queue, cl_kernel kernel, cl_uint dimensions, const size_t *offset, const size_t *global,
     const size_t *local, cl_uint waits, const cl_event *wait_list, cl_event *event),
    (queue, kernel, dimensions, offset, global, local, waits, wait_list, event))

// MARK: - Events

FORWARD(
    clGetEventProfilingInfo,
    (cl_event event, cl_profiling_info name, size_t size, void *value, size_t *size_ret),
    (event, name, size, value, size_ret))
FORWARD(clReleaseEvent, (cl_event event), (event))
