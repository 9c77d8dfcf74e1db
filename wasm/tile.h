// The micro-kernel of every product: four rows of A times eight columns of B.
//
// 8 sums, 2 vectors of B and 4 of A are 14 registers; V8 has 15. The loops stay rolled: unrolled,
// both LLVM and the engines gather all loads at the top and spill (60 -> 20 to 48 GFLOP/s).
#pragma once

#include "simd.h"

enum { TILE_ROWS = 4, TILE_COLUMNS = 8 };

typedef struct {
  const float *b;  // B(p, j) = b[p * b_step + j]; all eight columns can be read
  int b_step, k;
  int add;           // add to what the output holds
  int rows, columns;  // how much of the tile there is
} product_t;

typedef struct {
  f32x4 c[TILE_ROWS][2];
} sums_t;

INLINE void store_row(const product_t *p, f32x4 low, f32x4 high, float *to, int columns) {
  if (p->add) {
    low = wasm_f32x4_add(low, load_lanes(to, columns));
    high = wasm_f32x4_add(high, load_lanes(to + 4, columns - 4));
  }
  store_lanes(to, low, columns);
  store_lanes(to + 4, high, columns - 4);
}

// A tile at the edge of the output.
static __attribute__((noinline)) void store_edge(const product_t *p, sums_t sums, float *out,
                                                 const int *out_rows) {
  for (int i = 0; i < p->rows; i++)
    store_row(p, sums.c[i][0], sums.c[i][1], out + out_rows[i], p->columns);
}

#define TILE_SUMS                                                              \
  f32x4 c00 = wasm_f32x4_splat(0), c01 = c00, c10 = c00, c11 = c00, c20 = c00; \
  f32x4 c21 = c00, c30 = c00, c31 = c00

// One step along k: row i of A is the same value in all lanes of s_i.
#define TILE_STEP(s0, s1, s2, s3)                                       \
  do {                                                                  \
    f32x4 b0 = wasm_v128_load(b), b1 = wasm_v128_load(b + 4);           \
    TILE_ROW(s0, c00, c01);                                             \
    TILE_ROW(s1, c10, c11);                                             \
    TILE_ROW(s2, c20, c21);                                             \
    TILE_ROW(s3, c30, c31);                                             \
  } while (0)

#define TILE_ROW(s, low, high)       \
  do {                               \
    f32x4 row = (s);                 \
    low = multiply_add(row, b0, low); \
    high = multiply_add(row, b1, high); \
  } while (0)

#define TILE_STORE                                                                 \
  do {                                                                             \
    if (p->rows == TILE_ROWS && p->columns == TILE_COLUMNS) {                      \
      store_row(p, c00, c01, out + out_rows[0], TILE_COLUMNS);                     \
      store_row(p, c10, c11, out + out_rows[1], TILE_COLUMNS);                     \
      store_row(p, c20, c21, out + out_rows[2], TILE_COLUMNS);                     \
      store_row(p, c30, c31, out + out_rows[3], TILE_COLUMNS);                     \
    } else {                                                                       \
      sums_t sums = {{{c00, c01}, {c10, c11}, {c20, c21}, {c30, c31}}};            \
      store_edge(p, sums, out, out_rows);                                          \
    }                                                                              \
  } while (0)

#define LANE(v, i) wasm_i32x4_shuffle(v, v, i, i, i, i)

// out[out_rows[i] + j] from a packed panel, A(i, p) = a[4 * p + i].
INLINE void tile_packed(const product_t *p, const float *a, float *out, const int *out_rows) {
  TILE_SUMS;
  const float *b = p->b, *end = a + p->k * TILE_ROWS;
  int b_step = p->b_step;
  NOT_UNROLLED for (; a != end; a += TILE_ROWS, b += b_step) {
    f32x4 v = wasm_v128_load(a);
    TILE_STEP(LANE(v, 0), LANE(v, 1), LANE(v, 2), LANE(v, 3));
  }
  TILE_STORE;
}

// The same where A stands anywhere: A(i, p) = a[a_rows[i] + steps[p]], which fits the windows of
// a convolution without copying them. All four rows must be readable.
INLINE void tile_indirect(const product_t *p, const float *a, const int *a_rows, const int *steps,
                          float *out, const int *out_rows) {
  TILE_SUMS;
  const float *a0 = a + a_rows[0], *a1 = a + a_rows[1], *a2 = a + a_rows[2], *a3 = a + a_rows[3];
  const float *b = p->b;
  int b_step = p->b_step;
  const int *end = steps + p->k;
  NOT_UNROLLED for (; steps != end; steps++, b += b_step) {
    int step = *steps;
    TILE_STEP(wasm_v128_load32_splat(a0 + step), wasm_v128_load32_splat(a1 + step),
              wasm_v128_load32_splat(a2 + step), wasm_v128_load32_splat(a3 + step));
  }
  TILE_STORE;
}
