#include <float.h>

#include "cpu_kernels.h"
#include "cpu_vector.h"

CLONES void pbe_affine_activation(const float *x, const float *scale, const float *shift, int kind, float parameter,
                                  float *y, ptrdiff_t rows, ptrdiff_t channels) {
  if (!scale) {
    ptrdiff_t count = rows * channels;
    FOR_ACTIVATION(kind, for (ptrdiff_t i = 0; i < count; i++) y[i] = activate(KIND, parameter, x[i]));
    return;
  }
  FOR_ACTIVATION(
      kind, for (ptrdiff_t r = 0; r < rows; r++) {
        const float *from = x + r * channels;
        float *to = y + r * channels;
        for (ptrdiff_t c = 0; c < channels; c++) to[c] = activate(KIND, parameter, scale[c] * from[c] + shift[c]);
      });
}

CLONES void pbe_affine_activation_gradient(const float *dy, const float *x, const float *scale, const float *shift,
                                           int kind, float parameter, float *dx, int accumulate, ptrdiff_t rows,
                                           ptrdiff_t channels) {
  FOR_ACTIVATION(
      kind, for (ptrdiff_t r = 0; r < rows; r++) {
        const float *g = dy + r * channels, *from = x + r * channels;
        float *to = dx + r * channels;
        if (!scale && accumulate)
          for (ptrdiff_t c = 0; c < channels; c++) to[c] += g[c] * activation_slope(KIND, parameter, from[c]);
        else if (!scale)
          for (ptrdiff_t c = 0; c < channels; c++) to[c] = g[c] * activation_slope(KIND, parameter, from[c]);
        else if (accumulate)
          for (ptrdiff_t c = 0; c < channels; c++)
            to[c] += g[c] * activation_slope(KIND, parameter, scale[c] * from[c] + shift[c]) * scale[c];
        else
          for (ptrdiff_t c = 0; c < channels; c++)
            to[c] = g[c] * activation_slope(KIND, parameter, scale[c] * from[c] + shift[c]) * scale[c];
      });
}

CLONES void pbe_add(const float *a, const float *b, float *y, ptrdiff_t count) {
  for (ptrdiff_t i = 0; i < count; i++) y[i] = a[i] + b[i];
}

CLONES void pbe_multiply(const float *a, const float *b, float *y, ptrdiff_t count) {
  for (ptrdiff_t i = 0; i < count; i++) y[i] = a[i] * b[i];
}

CLONES void pbe_add_bias(float *y, const float *bias, ptrdiff_t rows, ptrdiff_t channels) {
  for (ptrdiff_t r = 0; r < rows; r++)
    for (ptrdiff_t c = 0; c < channels; c++) y[r * channels + c] += bias[c];
}

CLONES void pbe_pgd_step(float *restrict z, const float *restrict origin, const float *restrict gradient, float step,
                         float epsilon, int clip, ptrdiff_t count) {
  float low = clip ? 0.0f : -INFINITY, high = clip ? 1.0f : INFINITY;
  for (ptrdiff_t i = 0; i < count; i++) {
    float g = gradient[i], sign = (float)(g > 0) - (float)(g < 0), v = z[i] + step * sign;
    float least = origin[i] - epsilon, most = origin[i] + epsilon;
    v = v < least ? least : v;
    v = v > most ? most : v;
    v = v < low ? low : v;
    z[i] = v > high ? high : v;
  }
}

// In doubles: the squares of small gradients would vanish in single precision.
CLONES void pbe_pgd_step_l2(float *restrict z, const float *restrict origin, const float *restrict gradient, float step,
                            float epsilon, int clip, ptrdiff_t count) {
  double squares = 0, moved = 0;
  for (ptrdiff_t i = 0; i < count; i++) squares += (double)gradient[i] * gradient[i];
  double scale = squares > 0 ? step / sqrt(squares) : 0;
  for (ptrdiff_t i = 0; i < count; i++) {
    double d = z[i] - origin[i] + scale * gradient[i];
    moved += d * d;
  }
  double shrink = moved > (double)epsilon * epsilon ? epsilon / sqrt(moved) : 1;
  float low = clip ? 0.0f : -INFINITY, high = clip ? 1.0f : INFINITY;
  for (ptrdiff_t i = 0; i < count; i++) {
    float v = (float)(origin[i] + shrink * (z[i] - origin[i] + scale * gradient[i]));
    v = v < low ? low : v;
    z[i] = v > high ? high : v;
  }
}

CLONES void pbe_sgd(float *restrict p, const float *restrict g, float *restrict v, float rate, float momentum,
                    float decay, int nesterov, ptrdiff_t count) {
  for (ptrdiff_t i = 0; i < count; i++) {
    float gradient = g[i] + decay * p[i], velocity = momentum * v[i] + gradient;
    v[i] = velocity;
    p[i] -= rate * (nesterov ? gradient + momentum * velocity : velocity);
  }
}

// A moment that decays below the smallest normal number would stay there for good: an element of a dead channel then takes
// tens of times as long as another one. Next to epsilon it is nothing.
static inline float normal_or_zero(float x) { return fabsf(x) < FLT_MIN ? 0.0f : x; }

CLONES void pbe_adam(float *restrict p, const float *restrict g, float *restrict m, float *restrict v, float rate,
                     float beta1, float beta2, float epsilon, float decay, uint32_t step, ptrdiff_t count) {
  float first = (float)(1.0 - pow(beta1, step)), root = (float)sqrt(1.0 - pow(beta2, step));
  for (ptrdiff_t i = 0; i < count; i++) {
    float gradient = g[i] + decay * p[i];
    m[i] = normal_or_zero(beta1 * m[i] + (1.0f - beta1) * gradient);
    v[i] = normal_or_zero(beta2 * v[i] + (1.0f - beta2) * gradient * gradient);
    // sqrtf may set errno, which keeps a loop from being vectorized.
    p[i] -= rate / first * m[i] / (__builtin_elementwise_sqrt(v[i]) / root + epsilon);
  }
}

CLONES double pbe_gradient_squares(const float *p, const float *g, ptrdiff_t count) {
  double lanes[16] = {0};
  ptrdiff_t i = 0;
  for (; i + 16 <= count; i += 16)
    for (int l = 0; l < 16; l++) {
      double v = (double)g[i + l] * (p ? p[i + l] : 1.0f);
      lanes[l] += v * v;
    }
  for (; i < count; i++) {
    double v = (double)g[i] * (p ? p[i] : 1.0f);
    lanes[0] += v * v;
  }
  double sum = 0;
  for (int l = 0; l < 16; l++) sum += lanes[l];
  return sum;
}

CLONES void pbe_perturb_weights(float *restrict p, const float *restrict g, float *restrict saved, float scale,
                                int adaptive, ptrdiff_t count) {
  for (ptrdiff_t i = 0; i < count; i++) {
    float before = p[i], t = adaptive ? before : 1.0f;
    saved[i] = before;
    p[i] = before + scale * t * t * g[i];
  }
}

CLONES void pbe_convert_bytes(const uint8_t *x, float *y, ptrdiff_t count) {
  for (ptrdiff_t i = 0; i < count; i++) y[i] = (float)x[i] / 255.0f;
}

CLONES double pbe_sum(const float *x, ptrdiff_t count) {
  double lanes[16] = {0};
  ptrdiff_t i = 0;
  for (; i + 16 <= count; i += 16)
    for (int l = 0; l < 16; l++) lanes[l] += x[i + l];
  for (; i < count; i++) lanes[0] += x[i];
  double sum = 0;
  for (int l = 0; l < 16; l++) sum += lanes[l];
  return sum;
}
