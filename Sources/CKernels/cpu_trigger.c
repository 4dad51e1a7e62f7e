#include "cpu_kernels.h"
#include "cpu_vector.h"

CLONES void pbe_apply_trigger(const float *x, const float *pattern, const float *mask, float *y, int kind, int clip,
                              ptrdiff_t pixels, ptrdiff_t channels, ptrdiff_t maskChannels) {
  float low = clip ? 0.0f : -INFINITY, high = clip ? 1.0f : INFINITY;
  ptrdiff_t step = channels / maskChannels;
  for (ptrdiff_t i = 0; i < pixels * channels; i++) {
    float v = x[i] + mask[step == 1 ? i : i / step] * (kind ? pattern[i] : pattern[i] - x[i]);
    v = v < low ? low : v;
    y[i] = v > high ? high : v;
  }
}

CLONES void pbe_apply_trigger_gradient(const float *dy, const float *mask, float *dp, int accumulate, ptrdiff_t pixels,
                                       ptrdiff_t channels, ptrdiff_t maskChannels) {
  ptrdiff_t step = channels / maskChannels;
  for (ptrdiff_t i = 0; i < pixels * channels; i++) {
    float g = mask[step == 1 ? i : i / step] * dy[i];
    dp[i] = accumulate ? dp[i] + g : g;
  }
}

CLONES float pbe_rms_distance(const float *a, const float *b, ptrdiff_t count) {
  double lanes[16] = {0};
  ptrdiff_t i = 0;
  for (; i + 16 <= count; i += 16)
    for (int l = 0; l < 16; l++) {
      double d = (double)a[i + l] - b[i + l];
      lanes[l] += d * d;
    }
  for (; i < count; i++) {
    double d = (double)a[i] - b[i];
    lanes[0] += d * d;
  }
  double sum = 0;
  for (int l = 0; l < 16; l++) sum += lanes[l];
  return (float)sqrt(sum / (double)count);
}

CLONES void pbe_diversity_gradient(const float *y, const float *next, const float *previous, float forward,
                                   float backward, float *dy, ptrdiff_t count) {
  for (ptrdiff_t i = 0; i < count; i++) dy[i] = forward * (y[i] - next[i]) + backward * (y[i] - previous[i]);
}
