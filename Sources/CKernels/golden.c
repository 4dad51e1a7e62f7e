#include "golden.h"

#pragma clang diagnostic ignored "-Wc23-extensions"

static const unsigned char tensors[] = {
#embed "../../golden/operators.safetensors"
};

static const unsigned char cases[] = {
#embed "../../golden/operators.json"
};

const unsigned char *pbe_golden_tensors(void) { return tensors; }
size_t pbe_golden_tensors_length(void) { return sizeof(tensors); }
const unsigned char *pbe_golden_cases(void) { return cases; }
size_t pbe_golden_cases_length(void) { return sizeof(cases); }
