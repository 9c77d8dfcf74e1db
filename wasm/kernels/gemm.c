// Matrix products, batched, with either side transposed.

#include "engine.h"
#include "epilogue.h"
#include "pack.h"
#include "tile.h"

void gemm_ref(const float *a, const float *b, float *out, int batch, int m, int n, int k,
              int transpose_a, int transpose_b, int stride_a, int stride_b, epilogue_t epilogue,
              int *arguments, int thread, int threads) {
  const after_t after = {epilogue, arguments, out, n};
  int begin = share((int64_t)batch * m, thread, threads);
  int end = share((int64_t)batch * m, thread + 1, threads);
  for (int r = begin; r < end; r++)
    for (int j = 0; j < n; j++) {
      const float *ai = a + r / m * stride_a, *bi = b + r / m * stride_b;
      int i = r % m;
      float sum = 0;
      for (int p = 0; p < k; p++)
        sum += (transpose_a ? ai[p * m + i] : ai[i * k + p]) *
               (transpose_b ? bi[j * k + p] : bi[p * n + j]);
      out[r * n + j] = sum;
    }
  finish(&after, out + begin * n, end - begin, n);
}

// One product of the batch and the part of it that this thread does.
typedef struct {
  const float *a, *b;
  float *out;
  int m, n, k, transpose_a, transpose_b;
  int row, row_end, column, column_end;
  after_t after;
} part_t;

// Blocks: six rows of A (10 KB) and a panel of B (13 KB) stay in L1, a block of B (400 KB) in L2.
enum { BLOCK_K = 400, BLOCK_ROWS = 48, BLOCK_COLUMNS = 256 };
// What follows is called for this many floats or more: a call takes 20 ns (wasmtime 50).
enum { LEAST_FINISHED = 4096 };
// Rows of A that are turned around are this much longer: powers of two would share cache lines.
enum { GAP = 16 };

// A thread's scratch.
typedef struct {
  float b[BLOCK_K * BLOCK_COLUMNS];
  float a[(BLOCK_K + GAP) * BLOCK_ROWS];
} gemm_scratch_t;

_Static_assert(sizeof(gemm_scratch_t) <= SCRATCH_BYTES, "gemm needs more scratch");

// A part of A: A(i, p) = at[i * row + p * column].
typedef struct {
  const float *at;
  int row, column;
} a_t;

// A part of B in panels of eight columns, each `panel` floats after the one before; B(p, j) =
// at[p * row + j]. A last panel that is not whole stands elsewhere, filled up with zeros.
typedef struct {
  const float *at, *last;
  int row, panel;
} b_t;

// Some columns, and some steps along k, of all rows.
typedef struct {
  const part_t *part;
  gemm_scratch_t *scratch;
  int column, columns, depth, k;
  b_t b;
} block_t;

// Some rows of the block: all panels of B, one after the other, meet the same rows of A.
INLINE void multiply_rows(const block_t *block, a_t a, float *out, int rows) {
  int n = block->part->n, out_rows[TILE_ROWS];
  EACH(i, rows) out_rows[i] = i * n;
  product_t p = {block->b.at, block->b.row, block->k, block->depth > 0, rows, TILE_COLUMNS};
  int left = block->columns;
  for (; left >= TILE_COLUMNS; left -= TILE_COLUMNS, out += TILE_COLUMNS) {
    tile_strided(&p, a.at, a.row, a.column, out, out_rows, rows, 2);
    p.b += block->b.panel;
  }
  if (!left) return;
  p.b = block->b.last, p.b_step = TILE_COLUMNS, p.columns = left;
  if (left > 4)
    tile_strided(&p, a.at, a.row, a.column, out, out_rows, rows, 2);
  else
    tile_strided(&p, a.at, a.row, a.column, out, out_rows, rows, 1);
}

#define MULTIPLY_ROWS(rows)                                                                      \
  static __attribute__((noinline)) void multiply_##rows(const block_t *b, a_t a, float *out) { \
    multiply_rows(b, a, out, rows);                                                          \
  }
MULTIPLY_ROWS(1)
MULTIPLY_ROWS(2)
MULTIPLY_ROWS(3)
MULTIPLY_ROWS(4)
MULTIPLY_ROWS(5)
MULTIPLY_ROWS(6)

// How many of the rows that are left a tile takes. One row or two are as slow as four, so the last
// two tiles share what they have.
static int next_rows(int left) {
  return left > TILE_ROWS && left < 2 * TILE_ROWS ? ceiling(left, 2) : smaller(left, TILE_ROWS);
}

static void multiply_tiles(const block_t *b, a_t a, float *out, int rows) {
  for (int next; rows; rows -= next) {
    next = next_rows(rows);
    switch (next) {
      case 1: multiply_1(b, a, out); break;
      case 2: multiply_2(b, a, out); break;
      case 3: multiply_3(b, a, out); break;
      case 4: multiply_4(b, a, out); break;
      case 5: multiply_5(b, a, out); break;
      default: multiply_6(b, a, out);
    }
    a.at += next * a.row;
    out += next * b->part->n;
  }
}


// Rows of A as tiles read them fastest.
static a_t rows_of_a(const block_t *b, int row, int rows) {
  const part_t *g = b->part;
  if (!g->transpose_a) return (a_t){g->a + row * g->k + b->depth, g->k, 1};
  const float *at = g->a + b->depth * g->m + row;
  int length = ceiling(b->k, GAP) * GAP + GAP;
  pack_rows(at, g->m, rows, b->k, b->scratch->a, rows, length);
  return (a_t){b->scratch->a, length, 1};
}

static b_t panels_of_b(const block_t *b) {
  const part_t *g = b->part;
  float *to = b->scratch->b;
  int whole = b->columns / TILE_COLUMNS * TILE_COLUMNS;
  if (g->transpose_b) {
    pack_rows(g->b + b->column * g->k + b->depth, g->k, b->k, b->columns, to, b->k, TILE_COLUMNS);
  } else {
    pack_columns(g->b + b->depth * g->n + b->column, g->n, b->k, b->columns, to, b->k,
                 TILE_COLUMNS);
  }
  return (b_t){to, to + whole * b->k, TILE_COLUMNS, b->k * TILE_COLUMNS};
}

static void multiply(const part_t *g, gemm_scratch_t *s) {
  int all = g->column_end - g->column;
  int step_k = ceiling(g->k, ceiling(g->k, BLOCK_K));
  // Where k is small, blocks of B are wide: rows of the output are then written in one go.
  int most_columns = BLOCK_K * BLOCK_COLUMNS / (step_k * TILE_COLUMNS) * TILE_COLUMNS;
  int step_columns = ceiling(all, ceiling(all, most_columns));
  step_columns = ceiling(step_columns, TILE_COLUMNS) * TILE_COLUMNS;
  block_t b = {.part = g, .scratch = s, .column = g->column};
  for (; b.column < g->column_end; b.column += step_columns) {
    b.columns = smaller(step_columns, g->column_end - b.column);
    for (b.depth = 0; b.depth < g->k; b.depth += step_k) {
      b.k = smaller(step_k, g->k - b.depth);
      b.b = panels_of_b(&b);
      int begun = g->row;  // these rows wait for what follows them
      for (int row = g->row, rows; row < g->row_end; row += rows) {
        rows = smaller(BLOCK_ROWS, g->row_end - row);
        float *out = g->out + row * g->n + b.column;
        multiply_tiles(&b, rows_of_a(&b, row, rows), out, rows);
        int end = row + rows, enough = (end - begun) * b.columns >= LEAST_FINISHED;
        if (b.depth + b.k < g->k || (end < g->row_end && !enough)) continue;
        finish(&g->after, g->out + begun * g->n + b.column, end - begun, b.columns);
        begun = end;
      }
    }
  }
}

// -- a matrix times a vector: out[i] = sum over p of matrix(i, p) x[p], i in [begin, end) ---------

// The matrix's rows are contiguous along p: four dot products at a time.
static void dot_rows(const float *matrix, const float *x, float *out, int k, int begin, int end) {
  for (int i = begin; i < end; i += 4) {
    const float *row[4];
    f32x4 sum[4];
    for (int r = 0; r < 4; r++) {
      row[r] = matrix + smaller(i + r, end - 1) * k;
      sum[r] = wasm_f32x4_splat(0);
    }
    int p = 0;
    NOT_UNROLLED for (; p + 4 <= k; p += 4) {
      f32x4 v = wasm_v128_load(x + p);
      for (int r = 0; r < 4; r++) sum[r] = multiply_add(wasm_v128_load(row[r] + p), v, sum[r]);
    }
    f32x4 v = load_lanes(x + p, k - p);  // the last 0 to 3
    for (int r = 0; r < smaller(4, end - i); r++)
      out[i + r] = lanes_sum(multiply_add(load_lanes(row[r] + p, k - p), v, sum[r]));
  }
}

// The matrix is stored the other way around, matrix[p * stride + i]: sixteen outputs at a time.
static void add_columns(const float *matrix, const float *x, float *out, int k, int stride,
                        int begin, int end) {
  int i = begin;
  for (; i + 16 <= end; i += 16) {
    f32x4 sum[4] = {{0}, {0}, {0}, {0}};
    const float *row = matrix + i;
    NOT_UNROLLED for (int p = 0; p < k; p++, row += stride) {
      f32x4 v = wasm_v128_load32_splat(x + p);
      for (int j = 0; j < 4; j++) sum[j] = multiply_add(wasm_v128_load(row + 4 * j), v, sum[j]);
    }
    for (int j = 0; j < 4; j++) wasm_v128_store(out + i + 4 * j, sum[j]);
  }
  for (; i < end; i += 4) {
    f32x4 sum = wasm_f32x4_splat(0);
    for (int p = 0; p < k; p++)
      sum = multiply_add(load_lanes(matrix + p * stride + i, end - i),
                         wasm_v128_load32_splat(x + p), sum);
    store_lanes(out + i, sum, end - i);
  }
}

static void multiply_vector(const part_t *g) {
  int is_row = g->m == 1, transposed = is_row ? !g->transpose_b : g->transpose_a;
  const float *matrix = is_row ? g->b : g->a, *x = is_row ? g->a : g->b;
  int begin = is_row ? g->column : g->row, end = is_row ? g->column_end : g->row_end;
  if (transposed)
    add_columns(matrix, x, g->out, g->k, is_row ? g->n : g->m, begin, end);
  else
    dot_rows(matrix, x, g->out, g->k, begin, end);
}

static void finish_part(const part_t *g) {
  const float *from = g->out + g->row * g->n + g->column;
  finish(&g->after, from, g->row_end - g->row, g->column_end - g->column);
}

static void do_part(const part_t *g, int thread) {
  if (!g->k) {
    for (int i = g->row; i < g->row_end; i++)
      fill_zero(g->out + i * g->n + g->column, g->column_end - g->column);
    finish_part(g);
  } else if (g->m == 1 || g->n == 1) {
    multiply_vector(g);
    finish_part(g);
  } else {
    multiply(g, (gemm_scratch_t *)scratch(thread));
  }
}

// The longer side of the output is shared out, in whole tiles, over all of the batch.
void gemm(const float *a, const float *b, float *out, int batch, int m, int n, int k,
          int transpose_a, int transpose_b, int stride_a, int stride_b, epilogue_t epilogue,
          int *arguments, int thread, int threads) {
  if (!batch || !m || !n) return;
  int by_rows = m >= n, tiles = by_rows ? ceiling(m, TILE_ROWS) : ceiling(n, TILE_COLUMNS);
  int unit = share((int64_t)batch * tiles, thread, threads);
  int end = share((int64_t)batch * tiles, thread + 1, threads);
  while (unit < end) {
    int item = unit / tiles, first = unit % tiles, last = smaller(tiles, first + end - unit);
    part_t g = {a + item * stride_a, b + item * stride_b, out + item * m * n, m, n, k,
                transpose_a, transpose_b, 0, m, 0, n, {epilogue, arguments, out, n}};
    if (by_rows)
      g.row = first * TILE_ROWS, g.row_end = smaller(m, last * TILE_ROWS);
    else
      g.column = first * TILE_COLUMNS, g.column_end = smaller(n, last * TILE_COLUMNS);
    do_part(&g, thread);
    unit += last - first;
  }
}
