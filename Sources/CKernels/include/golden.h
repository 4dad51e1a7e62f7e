// The golden set (golden/operators.*), embedded at build time so that `pbe-gpu parity` needs no files.
#pragma once
#include <stddef.h>

/// Inputs and PyTorch's results: a safetensors file.
const unsigned char *_Nonnull pbe_golden_tensors(void);
/// Its length in bytes.
size_t pbe_golden_tensors_length(void);
/// The list of cases with their attributes: JSON.
const unsigned char *_Nonnull pbe_golden_cases(void);
/// Its length in bytes.
size_t pbe_golden_cases_length(void);
