// The GEMM micro-kernel: a tile of the output, accumulated over k in registers.
//
// Two multiply-adds per cycle with a latency of four cycles need eight independent accumulators,
// and more to hide the latency of loads: a tile of 6 x 8 has twelve vectors of accumulators. With
// two vectors of B and one of A they fill the 15 registers that V8 allocates, provided that nothing
// is loaded early. LLVM would load early, so a SCHEDULING_BARRIER ends each row. Percent of peak in
// Chromium (2026-11, matrices in L1): 6x8 with barriers 99, 5x8 with barriers 97, 4x8 92, 4x8 with
// shuffles instead of splat loads of A 87, 6x8 without barriers 45.
//
// Without relaxed SIMD, the product of each multiply-add takes one more register and instruction.
// GFLOP/s of whole products of 96, 240 and 480 (2026-11): 6x8 45, 46, 45 in Chromium, 44, 45, 43 in
// WebKit and 44, 45, 44 in Firefox; 5x8 46, 46, 44; 43, 44, 42; 41, 41, 40; 7x8 42, 42, 41; 44, 45,
// 44; 39, 40, 39; 6x8 without barriers 34, 15, 12 in Chromium.
#pragma once

#include "simd.h"

enum { TILE_ROWS = 6, TILE_COLUMNS = 8, MAX_VECTORS = 8 };

typedef struct {
  const float *b;  // B(p, j) = b[p * b_stride + j]; all columns of a whole tile are readable
  int b_stride, k;
  int accumulate;     // add to the contents of the output
  int rows, columns;  // the part of the tile that is within the output
} microtile_t;

// `rows` x (4 * vectors) sums. Both are compile-time constants where the functions are inlined.
typedef struct {
  f32x4 c[TILE_ROWS][MAX_VECTORS];
} accumulators_t;

// The compiler moves neither loads nor this sum across the barrier.
#define SCHEDULING_BARRIER(sum) __asm__ volatile("" : "+r"(sum) : : "memory")
#define UNROLLED_FOR(i, count) UNROLLED for (int i = 0; i < (count); i++)

INLINE void clear_accumulators(accumulators_t *s, int rows, int vectors) {
  UNROLLED_FOR(i, rows) UNROLLED_FOR(j, vectors) s->c[i][j] = wasm_f32x4_splat(0);
}

INLINE void load_b(f32x4 *v, const float *b, int vectors) {
  UNROLLED_FOR(j, vectors) v[j] = wasm_v128_load(b + 4 * j);
}

// One step along k of one row; all lanes of `a` hold the row's element of A.
INLINE void accumulate_row(f32x4 *c, f32x4 a, const f32x4 *b, int vectors) {
  UNROLLED_FOR(j, vectors) c[j] = multiply_add(a, b[j], c[j]);
  UNROLLED_FOR(j, vectors) SCHEDULING_BARRIER(c[j]);
}

INLINE void store_row(const f32x4 *c, float *out, int columns, int vectors, int accumulate) {
  UNROLLED_FOR(j, vectors) {
    int lanes = columns - 4 * j;
    f32x4 v = accumulate ? wasm_f32x4_add(c[j], load_lanes(out + 4 * j, lanes)) : c[j];
    store_lanes(out + 4 * j, v, lanes);
  }
}

// Store a tile that is only partly within the output.
static __attribute__((noinline)) void store_partial_tile(const microtile_t *t,
                                                         const accumulators_t *s, float *out,
                                                         const int *row_offsets) {
  for (int i = 0; i < t->rows; i++)
    store_row(s->c[i], out + row_offsets[i], t->columns, 2, t->accumulate);
}

// Store row i to out + row_offsets[i].
INLINE void store_tile(const microtile_t *t, const accumulators_t *s, float *out,
                       const int *row_offsets, int rows, int vectors) {
  if (t->rows < rows || t->columns < 4 * vectors) {
    accumulators_t copy = *s;  // in memory, so that *s can stay in registers
    store_partial_tile(t, &copy, out, row_offsets);
  } else if (t->accumulate) {
    UNROLLED_FOR(i, rows) store_row(s->c[i], out + row_offsets[i], 4 * vectors, vectors, 1);
  } else {
    UNROLLED_FOR(i, rows) store_row(s->c[i], out + row_offsets[i], 4 * vectors, vectors, 0);
  }
}

// A with strides: A(i, p) = a[i * a_row_stride + p * a_column_stride].
INLINE void microkernel_strided(const microtile_t *t, const float *a, int a_row_stride,
                                int a_column_stride, float *out, const int *row_offsets, int rows,
                                int vectors) {
  accumulators_t s;
  clear_accumulators(&s, rows, vectors);
  const float *row[TILE_ROWS], *b = t->b;
  UNROLLED_FOR(i, rows) row[i] = a + i * a_row_stride;
  int b_stride = t->b_stride;
  NOT_UNROLLED for (int left = t->k; left > 0; left--, b += b_stride) {
    f32x4 v[MAX_VECTORS];
    if (rows > 1) load_b(v, b, vectors);
    UNROLLED_FOR(i, rows) {
      f32x4 element = wasm_v128_load32_splat(row[i]);
      if (rows > 1)
        accumulate_row(s.c[i], element, v, vectors);
      else
        UNROLLED_FOR(j, vectors) accumulate_row(&s.c[i][j], wasm_v128_load(b + 4 * j), &element, 1);
      row[i] += a_column_stride;
    }
  }
  store_tile(t, &s, out, row_offsets, rows, vectors);
}

// A by indirection: A(i, p) = a[a_rows[i] + a_columns[p]]. This form reads the windows of a
// convolution without copying them. All rows of a whole tile must be readable.
INLINE void microkernel_indirect(const microtile_t *t, const float *a, const int *a_rows,
                                 const int *a_columns, float *out, const int *row_offsets,
                                 int vectors) {
  accumulators_t s;
  clear_accumulators(&s, TILE_ROWS, vectors);
  const float *row[TILE_ROWS], *b = t->b;
  UNROLLED_FOR(i, TILE_ROWS) row[i] = a + a_rows[i];
  int b_stride = t->b_stride;
  const int *end = a_columns + t->k;
  NOT_UNROLLED for (; a_columns != end; a_columns++, b += b_stride) {
    f32x4 v[MAX_VECTORS];
    load_b(v, b, vectors);
    int column = *a_columns;
    UNROLLED_FOR(i, TILE_ROWS)
      accumulate_row(s.c[i], wasm_v128_load32_splat(row[i] + column), v, vectors);
  }
  store_tile(t, &s, out, row_offsets, TILE_ROWS, vectors);
}
