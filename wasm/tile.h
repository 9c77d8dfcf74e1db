// The micro-kernel of every product: four rows of A times eight columns of B.
//
// A is addressed through tables, A(i, p) = a[rows[i] + steps[p]], which fits packed panels, plain
// matrices and the windows of a convolution alike.
#pragma once

#include "simd.h"

enum { TILE_ROWS = 4, TILE_COLUMNS = 8 };

typedef struct {
  const float *a;
  const int *steps;  // k of them
  const float *b;    // B(p, j) = b[p * b_step + j]; all eight columns can be read
  int b_step, k;
  int add;  // add to what `out` holds
} product_t;

// out[out_rows[i] + j] for the first `rows` rows and `columns` columns of the tile. a_rows has
// four entries even if rows is less.
INLINE void tile(const product_t *p, const int *a_rows, float *out, const int *out_rows, int rows,
                 int columns) {
  const float *a0 = p->a + a_rows[0], *a1 = p->a + a_rows[1];
  const float *a2 = p->a + a_rows[2], *a3 = p->a + a_rows[3], *b = p->b;
  f32x4 c00 = wasm_f32x4_splat(0), c01 = c00, c10 = c00, c11 = c00;
  f32x4 c20 = c00, c21 = c00, c30 = c00, c31 = c00;
  // 8 sums, 2 of B, 4 of A: 14 vector registers, all that V8 has but one.
  const int *steps = p->steps, *end = steps + p->k;
  NOT_UNROLLED for (; steps != end; steps++) {
    int step = *steps;
    f32x4 b0 = wasm_v128_load(b), b1 = wasm_v128_load(b + 4);
    f32x4 s0 = wasm_v128_load32_splat(a0 + step), s1 = wasm_v128_load32_splat(a1 + step);
    f32x4 s2 = wasm_v128_load32_splat(a2 + step), s3 = wasm_v128_load32_splat(a3 + step);
    c00 = multiply_add(s0, b0, c00), c01 = multiply_add(s0, b1, c01);
    c10 = multiply_add(s1, b0, c10), c11 = multiply_add(s1, b1, c11);
    c20 = multiply_add(s2, b0, c20), c21 = multiply_add(s2, b1, c21);
    c30 = multiply_add(s3, b0, c30), c31 = multiply_add(s3, b1, c31);
    b += p->b_step;
  }
  f32x4 sums[TILE_ROWS][2] = {{c00, c01}, {c10, c11}, {c20, c21}, {c30, c31}};
  for (int i = 0; i < rows; i++) {
    float *to = out + out_rows[i];
    f32x4 low = sums[i][0], high = sums[i][1];
    if (p->add) {
      low = wasm_f32x4_add(low, load_lanes(to, columns));
      high = wasm_f32x4_add(high, load_lanes(to + 4, columns - 4));
    }
    store_lanes(to, low, columns);
    store_lanes(to + 4, high, columns - 4);
  }
}
