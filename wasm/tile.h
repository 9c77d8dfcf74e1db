// The micro-kernel of every product: some rows of A times some columns of B, summed in registers.
//
// Two multiply-adds a cycle that each take four need eight sums under way, and more to hide the
// loads: six rows of eight columns are twelve sums. With two vectors of B and one of A they fill
// the 15 registers that V8 has, if nothing is loaded ahead. LLVM would do just that, so IN_ORDER
// ends each row. Of the ceiling in Chromium (2026-11, matrices in L1): 6x8 in order 99 %, 5x8 in
// order 97, 4x8 92, 4x8 with shuffles instead of splat loads of A 87, 6x8 in LLVM's order 45.
#pragma once

#include "simd.h"

// Without relaxed SIMD a product takes a register more on its way to the sum.
#ifdef __wasm_relaxed_simd__
enum { TILE_ROWS = 6 };
#else
enum { TILE_ROWS = 5 };
#endif
enum { TILE_COLUMNS = 8, MOST_VECTORS = 8 };

typedef struct {
  const float *b;  // B(p, j) = b[p * b_step + j]; all columns of the tile can be read
  int b_step, k;
  int add;            // add to what the output holds
  int rows, columns;  // how much of the tile there is
} product_t;

// The sums of `rows` x (4 * vectors) outputs. Both numbers are constants where they are inlined.
typedef struct {
  f32x4 c[TILE_ROWS][MOST_VECTORS];
} sums_t;

// The compiler moves neither loads nor this sum across it.
#define IN_ORDER(sum) __asm__ volatile("" : "+r"(sum) : : "memory")
#define EACH(i, count) UNROLLED for (int i = 0; i < (count); i++)

INLINE void clear_sums(sums_t *s, int rows, int vectors) {
  EACH(i, rows) EACH(j, vectors) s->c[i][j] = wasm_f32x4_splat(0);
}

INLINE void load_b(f32x4 *to, const float *b, int vectors) {
  EACH(j, vectors) to[j] = wasm_v128_load(b + 4 * j);
}

// One step along k of one row, whose element of A is in all lanes of `a`.
INLINE void add_row(f32x4 *c, f32x4 a, const f32x4 *b, int vectors) {
  EACH(j, vectors) c[j] = multiply_add(a, b[j], c[j]);
  EACH(j, vectors) IN_ORDER(c[j]);
}

INLINE void store_row(const f32x4 *c, float *to, int columns, int vectors, int add) {
  EACH(j, vectors) {
    int lanes = columns - 4 * j;
    f32x4 v = add ? wasm_f32x4_add(c[j], load_lanes(to + 4 * j, lanes)) : c[j];
    store_lanes(to + 4 * j, v, lanes);
  }
}

// A tile at the edge of the output.
static __attribute__((noinline)) void store_edge(const product_t *p, const sums_t *s, float *out,
                                                 const int *out_rows) {
  for (int i = 0; i < p->rows; i++) store_row(s->c[i], out + out_rows[i], p->columns, 2, p->add);
}

// Row i goes to out + out_rows[i].
INLINE void store_sums(const product_t *p, const sums_t *s, float *out, const int *out_rows,
                       int rows, int vectors) {
  if (p->rows < rows || p->columns < 4 * vectors) {
    sums_t kept = *s;  // in memory, that *s may stay in registers
    store_edge(p, &kept, out, out_rows);
  } else if (p->add) {
    EACH(i, rows) store_row(s->c[i], out + out_rows[i], 4 * vectors, vectors, 1);
  } else {
    EACH(i, rows) store_row(s->c[i], out + out_rows[i], 4 * vectors, vectors, 0);
  }
}

// A(i, p) = a[i * a_row + p * a_column].
INLINE void tile_strided(const product_t *p, const float *a, int a_row, int a_column, float *out,
                         const int *out_rows, int rows, int vectors) {
  sums_t s;
  clear_sums(&s, rows, vectors);
  const float *row[TILE_ROWS], *b = p->b;
  EACH(i, rows) row[i] = a + i * a_row;
  int b_step = p->b_step;
  NOT_UNROLLED for (int left = p->k; left > 0; left--, b += b_step) {
    f32x4 v[MOST_VECTORS];
    if (rows > 1) load_b(v, b, vectors);
    EACH(i, rows) {
      f32x4 one = wasm_v128_load32_splat(row[i]);
      if (rows > 1)
        add_row(s.c[i], one, v, vectors);
      else
        EACH(j, vectors) add_row(&s.c[i][j], wasm_v128_load(b + 4 * j), &one, 1);
      row[i] += a_column;
    }
  }
  store_sums(p, &s, out, out_rows, rows, vectors);
}

// A stands anywhere: A(i, p) = a[a_rows[i] + steps[p]], which fits the windows of a convolution
// without copying them. All rows of a whole tile must be readable.
INLINE void tile_indirect(const product_t *p, const float *a, const int *a_rows, const int *steps,
                          float *out, const int *out_rows, int vectors) {
  sums_t s;
  clear_sums(&s, TILE_ROWS, vectors);
  const float *row[TILE_ROWS], *b = p->b;
  EACH(i, TILE_ROWS) row[i] = a + a_rows[i];
  int b_step = p->b_step;
  const int *end = steps + p->k;
  NOT_UNROLLED for (; steps != end; steps++, b += b_step) {
    f32x4 v[MOST_VECTORS];
    load_b(v, b, vectors);
    int step = *steps;
    EACH(i, TILE_ROWS) add_row(s.c[i], wasm_v128_load32_splat(row[i] + step), v, vectors);
  }
  store_sums(p, &s, out, out_rows, TILE_ROWS, vectors);
}
