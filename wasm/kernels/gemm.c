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

// Blocks: a panel of B (12 KB) stays in L1, a block of A (150 KB) and one of B (400 KB) in L2.
enum { BLOCK_K = 400, BLOCK_ROWS = 96, BLOCK_COLUMNS = 256 };

// A thread's scratch.
typedef struct {
  float b[BLOCK_K * BLOCK_COLUMNS];
  float a[BLOCK_K * BLOCK_ROWS];
} gemm_scratch_t;

_Static_assert(sizeof(gemm_scratch_t) <= SCRATCH_BYTES, "gemm needs more scratch");

// All tiles of a packed block of A times a packed block of B.
static void multiply_blocks(const gemm_scratch_t *s, product_t p, int rows, int columns, float *out,
                            int n) {
  const int out_rows[TILE_ROWS] = {0, n, 2 * n, 3 * n};
  for (int j = 0; j < columns; j += TILE_COLUMNS) {
    p.b = s->b + j * p.k;
    p.columns = smaller(TILE_COLUMNS, columns - j);
    for (int i = 0; i < rows; i += TILE_ROWS) {
      p.rows = smaller(TILE_ROWS, rows - i);
      tile_packed(&p, s->a + i * p.k, out + i * n + j, out_rows);
    }
  }
}

static void pack_a(const part_t *g, int row, int rows, int depth, int k, float *to) {
  if (g->transpose_a)
    pack_columns(g->a + depth * g->m + row, g->m, k, rows, to, k, TILE_ROWS);
  else
    pack_rows(g->a + row * g->k + depth, g->k, k, rows, to, k, TILE_ROWS);
}

static void pack_b(const part_t *g, int column, int columns, int depth, int k, float *to) {
  if (g->transpose_b)
    pack_rows(g->b + column * g->k + depth, g->k, k, columns, to, k, TILE_COLUMNS);
  else
    pack_columns(g->b + depth * g->n + column, g->n, k, columns, to, k, TILE_COLUMNS);
}

static void multiply(const part_t *g, gemm_scratch_t *s) {
  int step_k = ceiling(g->k, ceiling(g->k, BLOCK_K));
  for (int column = g->column; column < g->column_end; column += BLOCK_COLUMNS)
    for (int depth = 0; depth < g->k; depth += step_k) {
      int columns = smaller(BLOCK_COLUMNS, g->column_end - column);
      int k = smaller(step_k, g->k - depth);
      product_t p = {.b_step = TILE_COLUMNS, .k = k, .add = depth > 0};
      pack_b(g, column, columns, depth, k, s->b);
      for (int row = g->row; row < g->row_end; row += BLOCK_ROWS) {
        int rows = smaller(BLOCK_ROWS, g->row_end - row);
        pack_a(g, row, rows, depth, k, s->a);
        float *out = g->out + row * g->n + column;
        multiply_blocks(s, p, rows, columns, out, g->n);
        if (depth + k == g->k) finish(&g->after, out, rows, columns);
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
