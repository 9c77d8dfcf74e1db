// Matrix products, batched, with either side transposed.

#include "engine.h"
#include "pack.h"
#include "tile.h"

void gemm_ref(const float *a, const float *b, float *out, int batch, int m, int n, int k,
              int transpose_a, int transpose_b, int stride_a, int stride_b, int thread,
              int threads) {
  int end = share((int64_t)batch * m, thread + 1, threads);
  for (int r = share((int64_t)batch * m, thread, threads); r < end; r++)
    for (int j = 0; j < n; j++) {
      const float *ai = a + r / m * stride_a, *bi = b + r / m * stride_b;
      int i = r % m;
      float sum = 0;
      for (int p = 0; p < k; p++)
        sum += (transpose_a ? ai[p * m + i] : ai[i * k + p]) *
               (transpose_b ? bi[j * k + p] : bi[p * n + j]);
      out[r * n + j] = sum;
    }
}

// One product of the batch and the part of it that this thread does.
typedef struct {
  const float *a, *b;
  float *out;
  int m, n, k, transpose_a, transpose_b;
  int row, row_end, column, column_end;
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
        multiply_blocks(s, p, rows, columns, g->out + row * g->n + column, g->n);
      }
    }
}

void gemm(const float *a, const float *b, float *out, int batch, int m, int n, int k,
          int transpose_a, int transpose_b, int stride_a, int stride_b, int thread, int threads) {
  if (!batch || !m || !n) return;
  int by_rows = m >= n, tiles = by_rows ? ceiling(m, TILE_ROWS) : ceiling(n, TILE_COLUMNS);
  int unit = share((int64_t)batch * tiles, thread, threads);
  int end = share((int64_t)batch * tiles, thread + 1, threads);
  while (unit < end) {
    int item = unit / tiles, first = unit % tiles, last = smaller(tiles, first + end - unit);
    part_t g = {a + item * stride_a, b + item * stride_b, out + item * m * n, m, n, k,
                transpose_a, transpose_b, 0, m, 0, n};
    if (by_rows)
      g.row = first * TILE_ROWS, g.row_end = smaller(m, last * TILE_ROWS);
    else
      g.column = first * TILE_COLUMNS, g.column_end = smaller(n, last * TILE_COLUMNS);
    if (k)
      multiply(&g, (gemm_scratch_t *)scratch(thread));
    else
      for (int i = g.row; i < g.row_end; i++)
        fill_zero(g.out + i * n + g.column, g.column_end - g.column);
    unit += last - first;
  }
}
