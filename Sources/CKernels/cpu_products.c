// Products of matrices that lie in panels of 16 columns: what Winograd's 36 small products need, where a library's
// packing and dispatch cost as much as the work. A block of rows times one or two panels stays in registers.
#include "cpu_kernels.h"
#include "cpu_vector.h"

// One block of `height` rows and `panels` panels of c. Element (row, k) of a is at
// a[row * row_step + k / 16 * panel_step + k % 16 * step] (depth in panels) or, with panel_step 16 * step, in one run.
#define BLOCK_PRODUCT(height, panels) \
  do { \
    v16 sum[height][panels]; \
    for (int r = 0; r < (height); r++) \
      for (int p = 0; p < (panels); p++) \
        sum[r][p] = accumulate ? v16_load(c + p * c_panel + r * 16) : v16_set(0); \
    const float *from = a, *factor = b; \
    for (ptrdiff_t k = 0; k < depth; k += chunk, from += panel_step) { \
      ptrdiff_t run = depth - k < chunk ? depth - k : chunk; \
      for (ptrdiff_t l = 0; l < run; l++, factor += 16) { \
        v16 f[panels]; \
        for (int p = 0; p < (panels); p++) f[p] = v16_load(factor + p * b_panel); \
        for (int r = 0; r < (height); r++) { \
          v16 x = v16_set(from[r * row_step + l * step]); \
          for (int p = 0; p < (panels); p++) sum[r][p] += x * f[p]; \
        } \
      } \
    } \
    for (int r = 0; r < (height); r++) \
      for (int p = 0; p < (panels); p++) v16_store(c + p * c_panel + r * 16, sum[r][p]); \
  } while (0)

// The rows of a pair of panels (or of one), in blocks of at most HEIGHT.
#define ROWS(HEIGHT, panels) \
  do { \
    _Static_assert(16 % (HEIGHT) == 0, "a block of rows must not cross panels of a transposed a"); \
    ptrdiff_t row = 0; \
    for (; row + (HEIGHT) <= rows; row += (HEIGHT)) STEP(HEIGHT, panels); \
    if (rows - row >= 4) { \
      STEP(4, panels); \
      row += 4; \
    } \
    for (; row < rows; row++) STEP(1, panels); \
  } while (0)

#define STEP(height, panels) block_##height##_##panels(at(a0, row, walk), b, c0 + row * 16, walk)

typedef struct {
  ptrdiff_t depth, chunk, row_step, step, panel_step, b_panel, c_panel;
  ptrdiff_t a_rows;                             // rows per panel of a: where a row of the transposed lies
  int transposed, accumulate;
} walk_t;

// The first element of a row of a: in the transposed product, rows are columns of the stored matrix.
INLINE const float *at(const float *a, ptrdiff_t row, walk_t w) {
  return w.transposed ? a + row / 16 * w.a_rows * 16 + row % 16 : a + row * 16;
}

#define DEFINE_BLOCK(height, panels) \
  INLINE void block_##height##_##panels(const float *a, const float *b, float *c, walk_t w) { \
    const ptrdiff_t depth = w.depth, chunk = w.chunk, row_step = w.row_step, step = w.step; \
    const ptrdiff_t panel_step = w.panel_step, b_panel = w.b_panel, c_panel = w.c_panel; \
    const int accumulate = w.accumulate; \
    BLOCK_PRODUCT(height, panels); \
  }
DEFINE_BLOCK(8, 2)
DEFINE_BLOCK(8, 1)
DEFINE_BLOCK(4, 2)
DEFINE_BLOCK(4, 1)
DEFINE_BLOCK(1, 2)
DEFINE_BLOCK(1, 1)

// Sixteen 512-bit sums: two panels at a time.
INLINE void product_wide(const float *a0, const float *b0, float *c00, ptrdiff_t rows, ptrdiff_t panels, walk_t walk) {
  ptrdiff_t panel = 0;
  for (; panel + 2 <= panels; panel += 2) {
    const float *b = b0 + panel * walk.b_panel;
    float *c0 = c00 + panel * walk.c_panel;
    ROWS(8, 2);
  }
  for (; panel < panels; panel++) {
    const float *b = b0 + panel * walk.b_panel;
    float *c0 = c00 + panel * walk.c_panel;
    ROWS(8, 1);
  }
}

// Eight 256-bit sums (or sixteen of 128 bits): one panel at a time. Four rows never cross a panel of a; six would.
INLINE void product_narrow(const float *a0, const float *b0, float *c00, ptrdiff_t rows, ptrdiff_t panels,
                           walk_t walk) {
  for (ptrdiff_t panel = 0; panel < panels; panel++) {
    const float *b = b0 + panel * walk.b_panel;
    float *c0 = c00 + panel * walk.c_panel;
    ROWS(4, 1);
  }
}

#if DISPATCHES
__attribute__((target("arch=x86-64-v4"))) static void product_v4(const float *a, const float *b, float *c,
                                                                 ptrdiff_t rows, ptrdiff_t panels, walk_t walk) {
  product_wide(a, b, c, rows, panels, walk);
}
__attribute__((target("arch=x86-64-v3"))) static void product_v3(const float *a, const float *b, float *c,
                                                                 ptrdiff_t rows, ptrdiff_t panels, walk_t walk) {
  product_narrow(a, b, c, rows, panels, walk);
}
#endif

static void product(const float *a, const float *b, float *c, ptrdiff_t rows, ptrdiff_t panels, walk_t walk) {
#if DISPATCHES
  if (__builtin_cpu_supports("x86-64-v4")) return product_v4(a, b, c, rows, panels, walk);
  if (__builtin_cpu_supports("x86-64-v3")) return product_v3(a, b, c, rows, panels, walk);
#endif
  product_narrow(a, b, c, rows, panels, walk);
}

void pbe_panel_product(const float *a, const float *b, float *c, ptrdiff_t rows, ptrdiff_t depth, ptrdiff_t columns) {
  walk_t walk = {.depth = depth,
                 .chunk = 16,
                 .row_step = 16,
                 .step = 1,
                 .panel_step = rows * 16,
                 .b_panel = depth * 16,
                 .c_panel = rows * 16};
  product(a, b, c, rows, columns / 16, walk);
}

void pbe_panel_product_transposed(const float *a, const float *b, float *c, ptrdiff_t rows, ptrdiff_t depth,
                                  ptrdiff_t columns, int accumulate) {
  walk_t walk = {.depth = depth,
                 .chunk = depth,
                 .row_step = 1,
                 .step = 16,
                 .b_panel = depth * 16,
                 .c_panel = rows * 16,
                 .a_rows = depth,
                 .transposed = 1,
                 .accumulate = accumulate};
  product(a, b, c, rows, columns / 16, walk);
}
