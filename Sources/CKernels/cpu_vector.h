// What the CPU kernels share: clones per instruction set, a 16-float vector, activations, Philox.
#pragma once
#include <math.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

// One copy of a function per instruction set, chosen when the program starts: the only way to use AVX2 and AVX-512
// without compiling for one machine. By levels of features, since a processor's name ("arch=haswell") matches that
// vendor's chip alone. Elsewhere (Arm) the baseline has what is needed.
#if !defined(__has_feature)
#define __has_feature(x) 0
#endif
// The thread sanitizer is not ready yet when the clones are chosen. PBE_PORTABLE leaves what the compiler's flags say,
// to test the paths of other processors.
#if defined(__x86_64__) && defined(__linux__) && !__has_feature(thread_sanitizer) && !defined(PBE_PORTABLE)
#define DISPATCHES 1
#define CLONES __attribute__((target_clones("default", "arch=x86-64-v3", "arch=x86-64-v4")))
#else
#define CLONES
#endif
#define INLINE static inline __attribute__((always_inline))

// Every function that takes or returns a v16 is inlined, so how it would be passed does not matter.
#pragma clang diagnostic ignored "-Wpsabi"

// Sixteen channels at once: one AVX-512 register, two of AVX2, four of SSE or NEON.
typedef float v16 __attribute__((vector_size(64), aligned(4), may_alias));

INLINE v16 v16_load(const float *p) { return *(const v16 *)p; }
INLINE void v16_store(float *p, v16 v) { *(v16 *)p = v; }
// Around the cache, for what is read again only after it would have been evicted; `p` is aligned to 64 bytes.
INLINE void v16_stream(float *p, v16 v) {
  typedef float aligned16 __attribute__((vector_size(64), may_alias));
  __builtin_nontemporal_store(v, (aligned16 *)p);
}
INLINE v16 v16_set(float f) { return (v16){f, f, f, f, f, f, f, f, f, f, f, f, f, f, f, f}; }

INLINE float v16_sum(v16 v) {
  typedef float v8 __attribute__((vector_size(32)));
  typedef float v4 __attribute__((vector_size(16)));
  v8 a = __builtin_shufflevector(v, v, 0, 1, 2, 3, 4, 5, 6, 7) +
         __builtin_shufflevector(v, v, 8, 9, 10, 11, 12, 13, 14, 15);
  v4 b = __builtin_shufflevector(a, a, 0, 1, 2, 3) + __builtin_shufflevector(a, a, 4, 5, 6, 7);
  return (b[0] + b[2]) + (b[1] + b[3]);
}

enum { ACT_IDENTITY, ACT_RELU, ACT_LEAKY_RELU, ACT_ELU, ACT_TANH, ACT_SIGMOID, ACT_SILU, ACT_HARD_SWISH };

// exp by 2^n * polynomial, within 2 ulp in [-87, 88]; branch-free, so that loops over it vectorise.
INLINE float fast_exp(float x) {
  x = x > 88.0f ? 88.0f : x < -87.0f ? -87.0f : x;
  float n = x * 1.44269504088896341f;
  // Adding and subtracting 1.5 * 2^23 rounds to the nearest integer.
  float rounded = (n + 12582912.0f) - 12582912.0f;
  float r = x - rounded * 0.693359375f;
  r = r + rounded * 2.12194440e-4f;
  float p = 1.9875691500e-4f;
  p = p * r + 1.3981999507e-3f;
  p = p * r + 8.3334519073e-3f;
  p = p * r + 4.1665795894e-2f;
  p = p * r + 1.6666665459e-1f;
  p = p * r + 5.0000001201e-1f;
  p = p * (r * r) + r + 1.0f;
  union {
    int32_t i;
    float f;
  } scale = {.i = ((int32_t)rounded + 127) << 23};
  return p * scale.f;
}

INLINE float sigmoid(float x) { return 1.0f / (1.0f + fast_exp(-x)); }

INLINE float fast_tanh(float x) {
  float a = x < 0 ? -x : x;
  float s = x * x;
  float p = -5.70498872745e-3f;
  p = p * s + 2.06390887954e-2f;
  p = p * s - 5.37397155531e-2f;
  p = p * s + 1.33314422036e-1f;
  p = p * s - 3.33332819422e-1f;
  float small = p * s * x + x;
  float large = 1.0f - 2.0f / (fast_exp(2.0f * a) + 1.0f);
  large = x < 0 ? -large : large;
  return a < 0.625f ? small : large;
}

INLINE float activate(int kind, float parameter, float x) {
  switch (kind) {
  // What is no number stays so: a network that diverged must not look as if it computed something.
  case ACT_RELU: return x < 0 ? 0 : x;
  case ACT_LEAKY_RELU: return x > 0 ? x : parameter * x;
  case ACT_ELU: return x > 0 ? x : parameter * (fast_exp(x) - 1.0f);
  case ACT_TANH: return fast_tanh(x);
  case ACT_SIGMOID: return sigmoid(x);
  case ACT_SILU: return x * sigmoid(x);
  case ACT_HARD_SWISH: return x <= -3 ? 0 : x >= 3 ? x : x * (x + 3.0f) * (1.0f / 6.0f);
  default: return x;
  }
}

INLINE float activation_slope(int kind, float parameter, float x) {
  switch (kind) {
  case ACT_RELU: return x > 0 ? 1 : 0;
  case ACT_LEAKY_RELU: return x > 0 ? 1 : parameter;
  case ACT_ELU: return x > 0 ? 1 : parameter * fast_exp(x);
  case ACT_TANH: {
    // 4 e / (1 + e)^2 with e = exp(-2 |x|): 1 - tanh^2 would cancel.
    float e = fast_exp(x < 0 ? 2.0f * x : -2.0f * x);
    return 4.0f * e / ((1.0f + e) * (1.0f + e));
  }
  case ACT_SIGMOID: {
    float s = sigmoid(x);
    return s * (1 - s);
  }
  case ACT_SILU: {
    float s = sigmoid(x);
    return s * (1 + x * (1 - s));
  }
  case ACT_HARD_SWISH: return x <= -3 ? 0 : x >= 3 ? 1 : (2.0f * x + 3.0f) * (1.0f / 6.0f);
  default: return 1;
  }
}

INLINE v16 slope_16(v16 x, int kind, float parameter) {
  if (kind == ACT_IDENTITY) return v16_set(1);
  float lanes[16];
  v16_store(lanes, x);
  for (int l = 0; l < 16; l++) lanes[l] = activation_slope(kind, parameter, lanes[l]);
  return v16_load(lanes);
}

// Runs the statement with a compile-time constant KIND, so that each activation's loop vectorises on its own.
#define FOR_ACTIVATION(kind, ...) \
  switch (kind) { \
  case ACT_RELU: { enum { KIND = ACT_RELU }; __VA_ARGS__; } break; \
  case ACT_LEAKY_RELU: { enum { KIND = ACT_LEAKY_RELU }; __VA_ARGS__; } break; \
  case ACT_ELU: { enum { KIND = ACT_ELU }; __VA_ARGS__; } break; \
  case ACT_TANH: { enum { KIND = ACT_TANH }; __VA_ARGS__; } break; \
  case ACT_SIGMOID: { enum { KIND = ACT_SIGMOID }; __VA_ARGS__; } break; \
  case ACT_SILU: { enum { KIND = ACT_SILU }; __VA_ARGS__; } break; \
  case ACT_HARD_SWISH: { enum { KIND = ACT_HARD_SWISH }; __VA_ARGS__; } break; \
  default: { enum { KIND = ACT_IDENTITY }; __VA_ARGS__; } break; \
  }

typedef struct {
  uint32_t w[4];
} philox_words;

// Philox4x32-10; the same function as Philox.swift and kernels.cl.
INLINE philox_words philox(uint32_t c0, uint32_t c1, uint32_t c2, uint32_t c3, uint64_t seed) {
  uint32_t k0 = (uint32_t)seed, k1 = (uint32_t)(seed >> 32);
  for (int round = 0; round < 10; round++) {
    uint64_t a = (uint64_t)c0 * 0xD2511F53u, b = (uint64_t)c2 * 0xCD9E8D57u;
    uint32_t n0 = (uint32_t)(b >> 32) ^ c1 ^ k0, n2 = (uint32_t)(a >> 32) ^ c3 ^ k1;
    c1 = (uint32_t)b;
    c3 = (uint32_t)a;
    c0 = n0;
    c2 = n2;
    k0 += 0x9E3779B9u;
    k1 += 0xBB67AE85u;
  }
  return (philox_words){{c0, c1, c2, c3}};
}

INLINE float philox_uniform(uint32_t word) { return (float)(word >> 8) * 0x1p-24f; }
