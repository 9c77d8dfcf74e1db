// Batched matrix products with optional transposition of either operand.

#include "engine.h"
#include "epilogue.h"
#include "gemm_microkernel.h"
#include "gemm_pack.h"
#include "gemm_strip.h"

void gemm_reference(const float *a, const float *b, float *out, int batch, int m, int n, int k,
                    int transpose_a, int transpose_b, int stride_a, int stride_b,
                    epilogue_t epilogue, int *arguments, int thread, int threads) {
  const epilogue_args_t epilogue_args = {epilogue, arguments, out, n};
  int begin = partition_begin((int64_t)batch * m, thread, threads);
  int end = partition_begin((int64_t)batch * m, thread + 1, threads);
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
  run_epilogue(&epilogue_args, out + begin * n, end - begin, n);
}

// One product of the batch, and the rectangle of its output that this thread computes.
typedef struct {
  const float *a, *b;
  float *out;
  int m, n, k, transpose_a, transpose_b;
  int row, row_end, column, column_end;
  epilogue_args_t epilogue;
} gemm_task_t;

// Cache blocking: six rows of A (10 KB) and a panel of B (13 KB) fit into L1, a block of B (400 KB)
// and a block of A (300 KB) into L2.
enum { BLOCK_K = 400, BLOCK_ROWS = 192, BLOCK_COLUMNS = 256 };

typedef struct {
  float b[BLOCK_K * BLOCK_COLUMNS];
  float a[BLOCK_K * (BLOCK_ROWS + TILE_ROWS)];
} gemm_scratch_t;

_Static_assert(sizeof(gemm_scratch_t) <= SCRATCH_BYTES, "gemm needs more scratch");

// `columns` columns from `column` of all rows of a task, summed over `k` steps from `depth`.
typedef struct {
  const gemm_task_t *task;
  gemm_scratch_t *scratch;
  int column, columns, depth, k;
  int a_strip_stride;  // floats between packed strips of A; 0 if A is read in place
  gemm_strip_t strip;
} gemm_block_t;

// Whether to read a matrix with rows of this length in place instead of packing it. If each element
// is multiplied with `uses` rows or columns of the other matrix, packing takes about 4 / uses of
// the time; but rows at a distance of 4 KB compete for few sets of the caches. Percent of peak in
// place and packed (Chromium, one thread, 2026-11): 16x128x1024 90 and 75, 128x256x784 96 and 92,
// 512x512x512 97 and 96, 1024x1024x1024 71 and 98.
static int read_in_place(int row_length, int uses) {
  return row_length % 1024 ? uses < 192 : uses < 8;
}

// Pack panels that match the strips of multiply_rows.
static void pack_a(const gemm_block_t *b, const float *source, int rows) {
  for (int i = 0, strip_rows; i < rows; i += strip_rows) {
    int whole_strips = (rows - i) / TILE_ROWS - 1;
    strip_rows = whole_strips > 0 ? whole_strips * TILE_ROWS : next_strip_rows(rows - i);
    float *panels = b->scratch->a + ceil_div(i, TILE_ROWS) * TILE_ROWS * b->k;
    pack_columns(source + i, b->task->m, b->k, strip_rows, panels, b->k, TILE_ROWS);
  }
}

static void pack_a_if_needed(gemm_block_t *b, int row, int rows) {
  const gemm_task_t *t = b->task;
  gemm_strip_t *s = &b->strip;
  if (!t->transpose_a) {
    s->a = t->a + row * t->k + b->depth, s->a_row_stride = t->k, s->a_column_stride = 1;
    return;
  }
  s->a = t->a + b->depth * t->m + row, s->a_row_stride = 1, s->a_column_stride = t->m;
  if (read_in_place(t->m, t->column_end - t->column)) return;
  pack_a(b, s->a, rows);
  s->a = b->scratch->a, s->a_column_stride = TILE_ROWS, b->a_strip_stride = TILE_ROWS * b->k;
}

// A partial last panel is always packed, because tiles read all of its columns.
static void pack_b_if_needed(gemm_block_t *b) {
  const gemm_task_t *t = b->task;
  gemm_strip_t *s = &b->strip;
  const float *source = t->b + b->depth * t->n + b->column;
  float *panels = b->scratch->b;
  int whole = b->columns / TILE_COLUMNS * TILE_COLUMNS;
  int in_place = !t->transpose_b && read_in_place(t->n, t->row_end - t->row);
  int first = in_place ? whole : 0;
  s->b = panels, s->b_last = panels + (whole - first) * b->k;
  s->b_row_stride = TILE_COLUMNS, s->panel_stride = TILE_COLUMNS * b->k;
  if (in_place) s->b = source, s->b_row_stride = t->n, s->panel_stride = TILE_COLUMNS;
  if (t->transpose_b)
    pack_rows(t->b + b->column * t->k + b->depth, t->k, b->k, b->columns, panels, b->k,
              TILE_COLUMNS);
  else
    pack_columns(source + first, t->n, b->k, b->columns - first, panels, b->k, TILE_COLUMNS);
}

// The epilogue is called for at least this many floats: a call takes 20 ns (wasmtime 50).
enum { MIN_EPILOGUE_FLOATS = 4096 };

static void multiply_rows(const gemm_block_t *b, int row, int rows) {
  const gemm_task_t *t = b->task;
  gemm_strip_t s = b->strip;
  int is_final = b->depth + b->k == t->k, pending_rows = 0;  // rows without the epilogue
  s.out = t->out + row * t->n + b->column;
  for (int strip_rows; rows; rows -= strip_rows) {
    strip_rows = next_strip_rows(rows);
    gemm_strip(&s, strip_rows);
    s.a += b->a_strip_stride ? b->a_strip_stride : strip_rows * s.a_row_stride;
    s.out += strip_rows * t->n;
    pending_rows += strip_rows;
    if (is_final && (pending_rows * b->columns >= MIN_EPILOGUE_FLOATS || rows == strip_rows)) {
      run_epilogue(&t->epilogue, s.out - pending_rows * t->n, pending_rows, b->columns);
      pending_rows = 0;
    }
  }
}

static void multiply_block(gemm_block_t *b) {
  const gemm_task_t *t = b->task;
  b->strip.columns = b->columns, b->strip.k = b->k, b->strip.accumulate = b->depth > 0;
  pack_b_if_needed(b);
  for (int row = t->row, rows; row < t->row_end; row += rows) {
    rows = min_int(BLOCK_ROWS, t->row_end - row);
    pack_a_if_needed(b, row, rows);
    multiply_rows(b, row, rows);
  }
}

static void gemm_blocked(const gemm_task_t *t, gemm_scratch_t *s) {
  int columns = t->column_end - t->column;
  int step_k = ceil_div(t->k, ceil_div(t->k, BLOCK_K));
  // If k is small, blocks of B are wide, so that longer parts of the output rows are contiguous.
  int max_columns = BLOCK_K * BLOCK_COLUMNS / (step_k * TILE_COLUMNS) * TILE_COLUMNS;
  int step_columns = ceil_div(columns, ceil_div(columns, max_columns));
  step_columns = ceil_div(step_columns, TILE_COLUMNS) * TILE_COLUMNS;
  gemm_block_t b = {
      .task = t, .scratch = s, .column = t->column, .strip = {.out_row_stride = t->n}};
  for (; b.column < t->column_end; b.column += step_columns) {
    b.columns = min_int(step_columns, t->column_end - b.column);
    for (b.depth = 0; b.depth < t->k; b.depth += step_k) {
      b.k = min_int(step_k, t->k - b.depth);
      multiply_block(&b);
    }
  }
}

// -- few rows, or a vector ----------------------------------------------------------------------

// out[i * out_row_stride + j] = dot product of row i of a and row j of b, both of length k, for
// i < rows and begin <= j < end. The registers hold two rows of a and four of b, or one and eight.
typedef struct {
  const float *a, *b;
  float *out;
  int rows, begin, end, k, out_row_stride;
} dot_products_t;

INLINE void dot_tile(const dot_products_t *d, int i, int j, int rows, int columns) {
  const float *a[2], *b[8];
  f32x4 sum[8][2], v[2];
  UNROLLED_FOR(r, rows) a[r] = d->a + (i + r) * d->k;
  UNROLLED_FOR(c, columns) b[c] = d->b + min_int(j + c, d->end - 1) * d->k;
  UNROLLED_FOR(c, columns) UNROLLED_FOR(r, rows) sum[c][r] = wasm_f32x4_splat(0);
  int p = 0;
  NOT_UNROLLED for (; p + 4 <= d->k; p += 4) {
    UNROLLED_FOR(r, rows) v[r] = wasm_v128_load(a[r] + p);
    UNROLLED_FOR(c, columns) accumulate_row(sum[c], wasm_v128_load(b[c] + p), v, rows);
  }
  f32x4 sums[8][2];  // in memory, so that `sum` can stay in registers
  UNROLLED_FOR(c, columns) UNROLLED_FOR(r, rows) sums[c][r] = sum[c][r];
  NOT_UNROLLED for (int c = 0; c < min_int(columns, d->end - j); c++)
    NOT_UNROLLED for (int r = 0; r < rows; r++) {
      f32x4 tail = load_lanes(d->b + (j + c) * d->k + p, d->k - p);
      tail = wasm_f32x4_mul(tail, load_lanes(d->a + (i + r) * d->k + p, d->k - p));
      d->out[(i + r) * d->out_row_stride + j + c] =
          horizontal_sum(wasm_f32x4_add(sums[c][r], tail));
    }
}

static void dot_products(const dot_products_t *d) {
  int even_rows = d->rows / 2 * 2;
  for (int j = d->begin; j < d->end && even_rows; j += 4)
    for (int i = 0; i < even_rows; i += 2) dot_tile(d, i, j, 2, 4);
  for (int j = d->begin; j < d->end && even_rows < d->rows; j += 8)
    dot_tile(d, even_rows, j, 1, 8);
}

// out[i] += sum over r < rows of x[r] matrix[r * stride + i], for i in [begin, end).
INLINE void accumulate_rows(const float *matrix, const float *x, float *out, int stride, int begin,
                            int end, int rows) {
  f32x4 factor[8];
  UNROLLED_FOR(r, rows) factor[r] = wasm_v128_load32_splat(x + r);
  int i = begin;
  NOT_UNROLLED for (; i + 4 <= end; i += 4) {
    f32x4 sum = wasm_v128_load(out + i);
    UNROLLED_FOR(r, rows)
      sum = multiply_add(wasm_v128_load(matrix + r * stride + i), factor[r], sum);
    wasm_v128_store(out + i, sum);
  }
  f32x4 sum = load_lanes(out + i, end - i);  // the last 0 to 3
  UNROLLED_FOR(r, rows)
    sum = multiply_add(load_lanes(matrix + r * stride + i, end - i), factor[r], sum);
  store_lanes(out + i, sum, end - i);
}

// out[i] = sum over p < k of x[p] matrix[p * stride + i], for i in [begin, end). The matrix is read
// eight whole rows at a time: 1024 x 1024 takes 78 us, and 784 x 256 17 us; by blocks of 32 columns
// with sums in registers they take 109 and 24 us (wasmtime, one thread, 2026-11).
static void vector_times_matrix(const float *matrix, const float *x, float *out, int k, int stride,
                                int begin, int end) {
  int p = 0;
  fill_zero(out + begin, end - begin);
  for (; p + 8 <= k; p += 8)
    accumulate_rows(matrix + p * stride, x + p, out, stride, begin, end, 8);
  for (; p < k; p++) accumulate_rows(matrix + p * stride, x + p, out, stride, begin, end, 1);
}

static void gemv(const gemm_task_t *t) {
  int is_row = t->m == 1, by_rows = is_row ? !t->transpose_b : t->transpose_a;
  const float *matrix = is_row ? t->b : t->a, *x = is_row ? t->a : t->b;
  int begin = is_row ? t->column : t->row, end = is_row ? t->column_end : t->row_end;
  int stride = is_row ? t->n : t->m;
  if (by_rows)
    vector_times_matrix(matrix, x, t->out, t->k, stride, begin, end);
  else
    dot_products(&(dot_products_t){x, matrix, t->out, 1, begin, end, t->k, 0});
}

// If rows of both matrices are contiguous along a long k, dot products need no packing. For more
// rows, packing costs less than the horizontal sums.
static int prefer_dot_products(const gemm_task_t *t) {
  return t->transpose_b && !t->transpose_a && t->m <= 16 && t->k >= 128;
}

static void gemm_dot(const gemm_task_t *t) {
  dot_products(&(dot_products_t){t->a + t->row * t->k, t->b, t->out + t->row * t->n,
                                 t->row_end - t->row, t->column, t->column_end, t->k, t->n});
}

static void run_task_epilogue(const gemm_task_t *t) {
  const float *first = t->out + t->row * t->n + t->column;
  run_epilogue(&t->epilogue, first, t->row_end - t->row, t->column_end - t->column);
}

static void run_task(const gemm_task_t *t, int thread) {
  if (t->k && t->m > 1 && t->n > 1 && !prefer_dot_products(t)) {
    gemm_blocked(t, (gemm_scratch_t *)scratch(thread));  // runs the epilogue for parts of the rows
    return;
  }
  if (!t->k)
    for (int i = t->row; i < t->row_end; i++)
      fill_zero(t->out + i * t->n + t->column, t->column_end - t->column);
  else if (t->m == 1 || t->n == 1)
    gemv(t);
  else
    gemm_dot(t);
  run_task_epilogue(t);
}

// Whether to partition the rows of the output across threads, or else its columns. Each thread
// packs its partition of one operand, and all of the other operand.
static int partition_rows(const gemm_task_t *t, int batch, int threads) {
  int panels = batch * ceil_div(t->n, TILE_COLUMNS);
  int idle = ceil_div(panels, threads) * threads - panels;
  if (8 * idle > panels && t->m >= 4 * threads) return 1;
  int packed_a = t->transpose_a && !read_in_place(t->m, t->n / threads) ? t->m : 0;
  int packed_b = t->transpose_b || !read_in_place(t->n, t->m / threads) ? t->n : 0;
  return packed_a == packed_b ? t->m >= t->n : packed_b < packed_a;
}

enum { UNIT_ROWS = 2 };

// Partition the rows or columns of all batch items across threads.
static void gemm_batch(gemm_task_t all, int batch, int stride_a, int stride_b, int thread,
                       int threads) {
  int by_rows = partition_rows(&all, batch, threads), size = by_rows ? UNIT_ROWS : TILE_COLUMNS;
  int units = ceil_div(by_rows ? all.m : all.n, size);
  int unit = partition_begin((int64_t)batch * units, thread, threads);
  int end = partition_begin((int64_t)batch * units, thread + 1, threads);
  for (int next; unit < end; unit = next) {
    int item = unit / units, first = unit % units * size;
    next = min_int(end, (item + 1) * units);
    int last = (next - item * units) * size;
    gemm_task_t t = all;
    t.a += item * stride_a, t.b += item * stride_b, t.out += item * all.m * all.n;
    if (by_rows)
      t.row = first, t.row_end = min_int(all.m, last);
    else
      t.column = first, t.column_end = min_int(all.n, last);
    run_task(&t, thread);
  }
}

void gemm(const float *a, const float *b, float *out, int batch, int m, int n, int k,
          int transpose_a, int transpose_b, int stride_a, int stride_b, epilogue_t epilogue,
          int *arguments, int thread, int threads) {
  if (!batch || !m || !n) return;
  // With the same b for all items, contiguous matrices a are one tall matrix.
  if (!stride_b && stride_a == m * k && !transpose_a) m *= batch, batch = 1;
  gemm_task_t all = {a, b, out, m, n, k, transpose_a, transpose_b, 0, m, 0, n,
                     {epilogue, arguments, out, n}};
  gemm_batch(all, batch, stride_a, stride_b, thread, threads);
}
