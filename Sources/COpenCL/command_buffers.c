#include "COpenCL.h"
#include <stddef.h>

int pbe_find_command_buffer_functions(cl_platform_id platform, pbe_command_buffer_functions *functions) {
  static const char *const names[] = {
      "clCreateCommandBufferKHR", "clCommandNDRangeKernelKHR", "clFinalizeCommandBufferKHR",
      "clEnqueueCommandBufferKHR", "clReleaseCommandBufferKHR",
  };
  void *found[sizeof names / sizeof names[0]];
  for (size_t i = 0; i < sizeof names / sizeof names[0]; i++) {
    found[i] = clGetExtensionFunctionAddressForPlatform(platform, names[i]);
    if (!found[i]) return 0;
  }
  *functions = (pbe_command_buffer_functions){
      .create = found[0], .kernel = found[1], .finalize = found[2], .enqueue = found[3], .release = found[4]};
  return 1;
}
