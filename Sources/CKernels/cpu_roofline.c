// What the machine can do at best: the roof that the kernels are measured against.
#include "cpu_kernels.h"
#include "cpu_vector.h"

// `chains` independent multiply-adds at a time, as many as the registers hold.
INLINE float multiply_add(ptrdiff_t rounds, int chains) {
  v16 sum[16], x = v16_set(1.000001f), y = v16_set(0.999999f);
  for (int i = 0; i < chains; i++) sum[i] = v16_set((float)i);
  for (ptrdiff_t r = 0; r < rounds; r++) {
    // The compiler must not know that nothing changes.
    __asm__ volatile("" : "+m"(x), "+m"(y));
    for (int repeat = 0; repeat < 8; repeat++)
      for (int i = 0; i < chains; i++) sum[i] += x * y;
  }
  for (int i = 1; i < chains; i++) sum[0] += sum[i];
  return v16_sum(sum[0]);
}

#if DISPATCHES
__attribute__((target("arch=x86-64-v4"))) static float multiply_add_v4(ptrdiff_t rounds) {
  return multiply_add(rounds, 16);
}
__attribute__((target("arch=x86-64-v3"))) static float multiply_add_v3(ptrdiff_t rounds) {
  return multiply_add(rounds, 5);
}
#endif

double pbe_peak_flops(ptrdiff_t rounds, float *result) {
#if DISPATCHES
  if (__builtin_cpu_supports("x86-64-v4")) {
    *result = multiply_add_v4(rounds);
    return (double)rounds * 8 * 16 * 32;
  }
  if (__builtin_cpu_supports("x86-64-v3")) {
    *result = multiply_add_v3(rounds);
    return (double)rounds * 8 * 5 * 32;
  }
#endif
  *result = multiply_add(rounds, 3);
  return (double)rounds * 8 * 3 * 32;
}

CLONES void pbe_stream_add(const float *a, const float *b, float *y, ptrdiff_t count) {
  for (ptrdiff_t i = 0; i + 16 <= count; i += 16) v16_stream(y + i, v16_load(a + i) + v16_load(b + i));
  __atomic_thread_fence(__ATOMIC_SEQ_CST);
}
