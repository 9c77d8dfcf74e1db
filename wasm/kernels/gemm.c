// Matrix products, batched, with either side transposed.

#include "engine.h"
#include "epilogue.h"
#include "pack.h"
#include "strip.h"
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

// Blocks: six rows of A (10 KB) and a panel of B (13 KB) stay in L1, a block of B (400 KB) and one
// of A (300 KB) in L2.
enum { BLOCK_K = 400, BLOCK_ROWS = 192, BLOCK_COLUMNS = 256 };

// A thread's scratch.
typedef struct {
  float b[BLOCK_K * BLOCK_COLUMNS];
  float a[BLOCK_K * (BLOCK_ROWS + TILE_ROWS)];
} gemm_scratch_t;

_Static_assert(sizeof(gemm_scratch_t) <= SCRATCH_BYTES, "gemm needs more scratch");

// Some columns, and some steps along k, of all rows.
typedef struct {
  const part_t *part;
  gemm_scratch_t *scratch;
  int column, columns, depth, k;
  int a_panel;      // floats between strips of A that are packed, 0 for rows where they stand
  strip_t strip;
} block_t;

// Whether tiles read a matrix with rows of this length where it stands, rather than a copy in
// panels. If `uses` rows or columns of the other matrix meet it, a copy takes about 4 / uses of the
// time; but 4 KB apart, lines share too few places of the caches. Chromium, one thread, of the
// ceiling in place and packed (2026-11): 16x128x1024 90 and 75 %, 128x256x784 96 and 92,
// 512x512x512 97 and 96, 1024x1024x1024 71 and 98.
static int stays(int length, int uses) { return length % 1024 ? uses < 192 : uses < 8; }

// Panels for the strips that multiply_rows makes of these rows.
static void pack_a(const block_t *b, const float *from, int rows) {
  for (int i = 0, next; i < rows; i += next) {
    int whole = (rows - i) / TILE_ROWS - 1;
    next = whole > 0 ? whole * TILE_ROWS : next_rows(rows - i);
    float *to = b->scratch->a + ceiling(i, TILE_ROWS) * TILE_ROWS * b->k;
    pack_columns(from + i, b->part->m, b->k, next, to, b->k, TILE_ROWS);
  }
}

static void prepare_a(block_t *b, int row, int rows) {
  const part_t *g = b->part;
  strip_t *s = &b->strip;
  if (!g->transpose_a) {
    s->a = g->a + row * g->k + b->depth, s->a_row = g->k, s->a_column = 1;
    return;
  }
  s->a = g->a + b->depth * g->m + row, s->a_row = 1, s->a_column = g->m;
  if (stays(g->m, g->column_end - g->column)) return;
  pack_a(b, s->a, rows);
  s->a = b->scratch->a, s->a_column = TILE_ROWS, b->a_panel = TILE_ROWS * b->k;
}

static void prepare_b(block_t *b) {
  const part_t *g = b->part;
  strip_t *s = &b->strip;
  const float *from = g->b + b->depth * g->n + b->column;
  float *to = b->scratch->b;
  int whole = b->columns / TILE_COLUMNS * TILE_COLUMNS;
  int stay = !g->transpose_b && stays(g->n, g->row_end - g->row), first = stay ? whole : 0;
  s->b = to, s->last = to + (whole - first) * b->k;
  s->b_row = TILE_COLUMNS, s->panel = TILE_COLUMNS * b->k;
  if (stay) s->b = from, s->b_row = g->n, s->panel = TILE_COLUMNS;
  if (g->transpose_b)
    pack_rows(g->b + b->column * g->k + b->depth, g->k, b->k, b->columns, to, b->k, TILE_COLUMNS);
  else
    pack_columns(from + first, g->n, b->k, b->columns - first, to, b->k, TILE_COLUMNS);
}

// What follows is called for this many floats or more: a call takes 20 ns (wasmtime 50).
enum { LEAST_FINISHED = 4096 };

static void multiply_rows(const block_t *b, int row, int rows) {
  const part_t *g = b->part;
  strip_t s = b->strip;
  int last = b->depth + b->k == g->k, unfinished = 0;
  s.out = g->out + row * g->n + b->column;
  for (int next; rows; rows -= next) {
    next = next_rows(rows);
    multiply_strip(&s, next);
    s.a += b->a_panel ? b->a_panel : next * s.a_row;
    s.out += next * g->n;
    unfinished += next;
    if (last && (unfinished * b->columns >= LEAST_FINISHED || rows == next)) {
      finish(&g->after, s.out - unfinished * g->n, unfinished, b->columns);
      unfinished = 0;
    }
  }
}

static void multiply_block(block_t *b) {
  const part_t *g = b->part;
  b->strip.columns = b->columns, b->strip.k = b->k, b->strip.add = b->depth > 0;
  prepare_b(b);
  for (int row = g->row, rows; row < g->row_end; row += rows) {
    rows = smaller(BLOCK_ROWS, g->row_end - row);
    prepare_a(b, row, rows);
    multiply_rows(b, row, rows);
  }
}

static void multiply(const part_t *g, gemm_scratch_t *s) {
  int all = g->column_end - g->column;
  int step_k = ceiling(g->k, ceiling(g->k, BLOCK_K));
  // Where k is small, blocks of B are wide: rows of the output are then written in one go.
  int most_columns = BLOCK_K * BLOCK_COLUMNS / (step_k * TILE_COLUMNS) * TILE_COLUMNS;
  int step_columns = ceiling(all, ceiling(all, most_columns));
  step_columns = ceiling(step_columns, TILE_COLUMNS) * TILE_COLUMNS;
  block_t b = {.part = g, .scratch = s, .column = g->column, .strip = {.out_row = g->n}};
  for (; b.column < g->column_end; b.column += step_columns) {
    b.columns = smaller(step_columns, g->column_end - b.column);
    for (b.depth = 0; b.depth < g->k; b.depth += step_k) {
      b.k = smaller(step_k, g->k - b.depth);
      multiply_block(&b);
    }
  }
}

// -- few rows, or a vector ----------------------------------------------------------------------

// out[i * out_row + j] = the dot product of the rows a + i * k and b + j * k, from row `begin` to
// `end` of b. In registers are two rows of a and four of b, or one and eight.
typedef struct {
  const float *a, *b;
  float *out;
  int rows, begin, end, k, out_row;
} dots_t;

INLINE void dot_tile(const dots_t *d, int i, int j, int rows, int columns) {
  const float *a[2], *b[8];
  f32x4 sum[8][2], v[2];
  EACH(r, rows) a[r] = d->a + (i + r) * d->k;
  EACH(c, columns) b[c] = d->b + smaller(j + c, d->end - 1) * d->k;
  EACH(c, columns) EACH(r, rows) sum[c][r] = wasm_f32x4_splat(0);
  int p = 0;
  NOT_UNROLLED for (; p + 4 <= d->k; p += 4) {
    EACH(r, rows) v[r] = wasm_v128_load(a[r] + p);
    EACH(c, columns) add_row(sum[c], wasm_v128_load(b[c] + p), v, rows);
  }
  f32x4 kept[8][2];
  EACH(c, columns) EACH(r, rows) kept[c][r] = sum[c][r];
  NOT_UNROLLED for (int c = 0; c < smaller(columns, d->end - j); c++)
    NOT_UNROLLED for (int r = 0; r < rows; r++) {
      f32x4 ends = load_lanes(d->b + (j + c) * d->k + p, d->k - p);
      ends = wasm_f32x4_mul(ends, load_lanes(d->a + (i + r) * d->k + p, d->k - p));
      d->out[(i + r) * d->out_row + j + c] = lanes_sum(wasm_f32x4_add(kept[c][r], ends));
    }
}

static void dot_products(const dots_t *d) {
  int pairs = d->rows / 2 * 2;
  for (int j = d->begin; j < d->end && pairs; j += 4)
    for (int i = 0; i < pairs; i += 2) dot_tile(d, i, j, 2, 4);
  for (int j = d->begin; j < d->end && pairs < d->rows; j += 8) dot_tile(d, pairs, j, 1, 8);
}

// Adds x[0] times the first of these rows, and so on, to out.
INLINE void add_rows(const float *matrix, const float *x, float *out, int stride, int begin,
                     int end, int rows) {
  f32x4 factor[8];
  EACH(r, rows) factor[r] = wasm_v128_load32_splat(x + r);
  int i = begin;
  NOT_UNROLLED for (; i + 4 <= end; i += 4) {
    f32x4 sum = wasm_v128_load(out + i);
    EACH(r, rows) sum = multiply_add(wasm_v128_load(matrix + r * stride + i), factor[r], sum);
    wasm_v128_store(out + i, sum);
  }
  f32x4 sum = load_lanes(out + i, end - i);  // the last 0 to 3
  EACH(r, rows)
    sum = multiply_add(load_lanes(matrix + r * stride + i, end - i), factor[r], sum);
  store_lanes(out + i, sum, end - i);
}

// out[i] = sum over p of x[p] matrix[p * stride + i], i in [begin, end). Rows are read from end to
// end, eight at a time: in wasmtime, one thread, 2026-11, 1024 x 1024 takes 78 us, and by columns,
// 32 at a time with their sums in registers, 109; 784 x 256 takes 17 and 24.
static void add_all_rows(const float *matrix, const float *x, float *out, int k, int stride,
                         int begin, int end) {
  int p = 0;
  fill_zero(out + begin, end - begin);
  for (; p + 8 <= k; p += 8) add_rows(matrix + p * stride, x + p, out, stride, begin, end, 8);
  for (; p < k; p++) add_rows(matrix + p * stride, x + p, out, stride, begin, end, 1);
}

static void multiply_vector(const part_t *g) {
  int is_row = g->m == 1, transposed = is_row ? !g->transpose_b : g->transpose_a;
  const float *matrix = is_row ? g->b : g->a, *x = is_row ? g->a : g->b;
  int begin = is_row ? g->column : g->row, end = is_row ? g->column_end : g->row_end;
  int stride = is_row ? g->n : g->m;
  if (transposed)
    add_all_rows(matrix, x, g->out, g->k, stride, begin, end);
  else
    dot_products(&(dots_t){x, matrix, g->out, 1, begin, end, g->k, 0});
}

// Rows of both matrices that are contiguous along a long k need no packing; for more rows than
// these, packing costs less than the sums of lanes at the end.
static int wants_dots(const part_t *g) {
  return g->transpose_b && !g->transpose_a && g->m <= 16 && g->k >= 128;
}

static void multiply_dots(const part_t *g) {
  dot_products(&(dots_t){g->a + g->row * g->k, g->b, g->out + g->row * g->n, g->row_end - g->row,
                         g->column, g->column_end, g->k, g->n});
}

static void finish_part(const part_t *g) {
  const float *from = g->out + g->row * g->n + g->column;
  finish(&g->after, from, g->row_end - g->row, g->column_end - g->column);
}

static void do_part(const part_t *g, int thread) {
  if (g->k && g->m > 1 && g->n > 1 && !wants_dots(g)) {
    multiply(g, (gemm_scratch_t *)scratch(thread));  // finishes as it goes
    return;
  }
  if (!g->k)
    for (int i = g->row; i < g->row_end; i++)
      fill_zero(g->out + i * g->n + g->column, g->column_end - g->column);
  else if (g->m == 1 || g->n == 1)
    multiply_vector(g);
  else
    multiply_dots(g);
  finish_part(g);
}

// Whether threads share the rows of the output, or else the columns: what they share they pack
// once, the other matrix each on its own.
static int shares_rows(const part_t *g, int batch, int threads) {
  int panels = batch * ceiling(g->n, TILE_COLUMNS);
  int idle = ceiling(panels, threads) * threads - panels;
  if (8 * idle > panels && g->m >= 4 * threads) return 1;
  int packed_a = g->transpose_a && !stays(g->m, g->n / threads) ? g->m : 0;
  int packed_b = g->transpose_b || !stays(g->n, g->m / threads) ? g->n : 0;
  return packed_a == packed_b ? g->m >= g->n : packed_b < packed_a;
}

enum { UNIT_ROWS = 2 };

// The rows or columns of all of the batch are shared out.
static void multiply_batch(part_t g, int batch, int stride_a, int stride_b, int thread,
                           int threads) {
  int by_rows = shares_rows(&g, batch, threads), size = by_rows ? UNIT_ROWS : TILE_COLUMNS;
  int units = ceiling(by_rows ? g.m : g.n, size);
  int unit = share((int64_t)batch * units, thread, threads);
  int end = share((int64_t)batch * units, thread + 1, threads);
  for (int next; unit < end; unit = next) {
    int item = unit / units, first = unit % units * size;
    next = smaller(end, (item + 1) * units);
    int last = (next - item * units) * size;
    part_t part = g;
    part.a += item * stride_a, part.b += item * stride_b, part.out += item * g.m * g.n;
    if (by_rows)
      part.row = first, part.row_end = smaller(g.m, last);
    else
      part.column = first, part.column_end = smaller(g.n, last);
    do_part(&part, thread);
  }
}

void gemm(const float *a, const float *b, float *out, int batch, int m, int n, int k,
          int transpose_a, int transpose_b, int stride_a, int stride_b, epilogue_t epilogue,
          int *arguments, int thread, int threads) {
  if (!batch || !m || !n) return;
  if (!stride_b && stride_a == m * k && !transpose_a) m *= batch, batch = 1;  // one product
  part_t g = {a, b, out, m, n, k, transpose_a, transpose_b, 0, m, 0, n,
              {epilogue, arguments, out, n}};
  multiply_batch(g, batch, stride_a, stride_b, thread, threads);
}
