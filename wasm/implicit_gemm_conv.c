// Dense convolution by implicit GEMM: a matrix product of windows and filter without im2col.

#include "conv_borders.h"
#include "conv_patches.h"
#include "gemm_pack.h"

int conv_padding_fits(const conv_windows_t *v) {
  return !needs_padding(v) || padded_size(v, 1, 1) <= PADDED_FLOATS;
}

// -- convolution: rows of A are output pixels, B is the filter ------------------------------------

static void pack_filter(const conv_block_t *b, const filter_view_t *f) {
  const conv_windows_t *v = b->v;
  for (int tap = b->tap; tap < b->tap_end; tap++) {
    const float *source =
        f->data + tap / v->taps_x * f->tap_stride_y + tap % v->taps_x * f->tap_stride_x;
    float *panels = b->scratch->filter + (tap - b->tap) * v->channels * TILE_COLUMNS;
    if (f->transposed)
      pack_rows(source + b->column * f->row_stride, f->row_stride, v->channels, b->columns, panels,
                b->k, TILE_COLUMNS);
    else
      pack_columns(source + b->column, f->row_stride, v->channels, b->columns, panels, b->k,
                   TILE_COLUMNS);
  }
}

// Run the epilogue on the outputs of a patch, in one call for all pixels that are contiguous.
static void run_patch_epilogue(const output_view_t *t, const conv_patch_t *p, const float *out,
                               int columns) {
  if (!t->epilogue.function) return;
  int contiguous_row = t->pixel_stride == t->epilogue.columns;
  int contiguous_rows = contiguous_row && p->columns * t->pixel_stride == t->row_stride;
  int contiguous_images = contiguous_rows && p->rows * t->row_stride == t->image_stride;
  int width = contiguous_row ? p->columns : 1, height = contiguous_rows ? p->rows : 1;
  int depth = contiguous_images ? p->images : 1;
  for (int image = 0; image < p->images; image += depth)
    for (int y = 0; y < p->rows; y += height)
      for (int x = 0; x < p->columns; x += width)
        run_epilogue(&t->epilogue,
                     out + image * t->image_stride + y * t->row_stride + x * t->pixel_stride,
                     depth * height * width, columns);
}

// The last tile of a row may be half as wide.
INLINE void microkernel_for_columns(const microtile_t *tile, const float *a, const int *a_rows,
                                    const int *a_columns, float *out, const int *row_offsets) {
  if (tile->columns > 4)
    microkernel_indirect(tile, a, a_rows, a_columns, out, row_offsets, 2);
  else
    microkernel_indirect(tile, a, a_rows, a_columns, out, row_offsets, 1);
}

static void conv_patch(const conv_block_t *b, const conv_patch_t *p, const float *origin,
                       int pixels) {
  const output_view_t *t = &b->out;
  float *out = t->data + p->image * t->image_stride + p->row * t->row_stride +
               p->column * t->pixel_stride + b->column;
  microtile_t tile = {.b_stride = TILE_COLUMNS, .k = b->k, .accumulate = b->tap > 0};
  for (int j = 0; j < b->columns; j += TILE_COLUMNS) {
    tile.b = b->scratch->filter + j * b->k;
    tile.columns = min_int(TILE_COLUMNS, b->columns - j);
    for (int i = 0; i < pixels; i += TILE_ROWS) {
      tile.rows = min_int(TILE_ROWS, pixels - i);
      microkernel_for_columns(&tile, origin, b->scratch->pixel_offsets + i,
                              b->scratch->window_offsets, out + j, b->scratch->output_offsets + i);
    }
  }
  if (b->tap_end == b->v->taps_y * b->v->taps_x) run_patch_epilogue(t, p, out, b->columns);
}

// Without taps or channels, all outputs are zero.
static void write_zeros(const conv_windows_t *v, const output_view_t *t, int columns) {
  int end = partition_begin((int64_t)v->n * v->out_h, v->thread + 1, v->threads);
  for (int row = partition_begin((int64_t)v->n * v->out_h, v->thread, v->threads); row < end; row++)
    for (int x = 0; x < v->out_w; x++) {
      float *out = t->data + row / v->out_h * t->image_stride + row % v->out_h * t->row_stride +
                   x * t->pixel_stride;
      fill_zero(out, columns);
      run_epilogue(&t->epilogue, out, 1, columns);
    }
}

static void conv_implicit_gemm(const conv_windows_t *v, const filter_view_t *f,
                               const output_view_t *t) {
  int taps = v->taps_y * v->taps_x, all_rows = v->n * v->out_h;
  if (!all_rows || !v->out_w || !f->columns) return;
  if (!taps || !v->channels) {
    write_zeros(v, t, f->columns);
    return;
  }
  // Partition the rows of the output across threads, or panels of columns if there are few rows.
  int panels = ceil_div(f->columns, TILE_COLUMNS);
  int by_rows = all_rows >= panels || all_rows >= 4 * v->threads;
  int row = by_rows ? partition_begin(all_rows, v->thread, v->threads) : 0;
  int row_end = by_rows ? partition_begin(all_rows, v->thread + 1, v->threads) : all_rows;
  int first = by_rows ? 0 : partition_begin(panels, v->thread, v->threads) * TILE_COLUMNS;
  int end = by_rows ? panels : partition_begin(panels, v->thread + 1, v->threads);
  end = min_int(f->columns, end * TILE_COLUMNS);
  conv_block_t b = first_block(v);
  b.out = *t;
  while (b.tap_end < taps) {
    next_taps(&b, BLOCK_K);
    int block_columns = FILTER_FLOATS / b.k / TILE_COLUMNS * TILE_COLUMNS;
    for (b.column = first; b.column < end; b.column += b.columns) {
      b.columns = min_int(block_columns, end - b.column);
      pack_filter(&b, f);
      for_each_patch(&b, row, row_end, conv_patch);
    }
  }
}

// -- borders: ranges of outputs that need no padding ----------------------------------------------

static void conv_border_range(const conv_windows_t *v, const filter_view_t *f,
                              const output_view_t *t, output_range_t y, output_range_t x) {
  conv_windows_t windows = *v;
  windows.out_h = y.outputs, windows.out_w = x.outputs;
  windows.taps_y = y.taps, windows.taps_x = x.taps;
  windows.origin_y += y.first * v->stride_y + y.tap * v->dilation_y;
  windows.origin_x += x.first * v->stride_x + x.tap * v->dilation_x;
  filter_view_t filter = *f;
  filter.data += y.tap * f->tap_stride_y + x.tap * f->tap_stride_x;
  output_view_t out = *t;
  out.data += y.first * t->row_stride + x.first * t->pixel_stride;
  conv_implicit_gemm(&windows, &filter, &out);
}

// The fraction of all window values that is inside of the image.
static float inside_fraction(const conv_windows_t *v) {
  int64_t rows = 0, columns = 0;
  for (output_range_t y = {0}; y.first < v->out_h; y.first += y.outputs) {
    y = row_range(v, y.first);
    rows += y.outputs * y.taps;
  }
  for (output_range_t x = {0}; x.first < v->out_w; x.first += x.outputs) {
    x = column_range(v, x.first);
    columns += x.outputs * x.taps;
  }
  int64_t all = (int64_t)v->out_h * v->taps_y * v->out_w * v->taps_x;
  return all ? (float)(rows * columns) / all : 1;
}

// Small images have large borders: split ranges skip the products with zeros, and need no padded
// copy. But each range packs its part of the filter, which only pays off for enough pixels.
static int splits_borders(const conv_windows_t *v) {
  return needs_padding(v) &&
         (!conv_padding_fits(v) || (v->n >= 16 && inside_fraction(v) < 0.85f));
}

void conv_dense(const conv_windows_t *v, const filter_view_t *f, const output_view_t *out) {
  if (winograd_fits(v, f->columns)) {
    conv_winograd(v, f, out);
    return;
  }
  if (!splits_borders(v)) {
    conv_implicit_gemm(v, f, out);
    return;
  }
  for (output_range_t y = {0}; y.first < v->out_h; y.first += y.outputs) {
    y = row_range(v, y.first);
    for (output_range_t x = {0}; x.first < v->out_w; x.first += x.outputs) {
      x = column_range(v, x.first);
      conv_border_range(v, f, out, y, x);
    }
  }
}

// -- gradient of the filter: rows of A are taps and channels, B is the gradient of the outputs ----

// Pack a panel of columns, from `column`, of the gradient of a patch's outputs.
static void pack_output_grad(const conv_windows_t *v, const conv_patch_t *p,
                             const filter_grad_t *d, int column, float *panel) {
  int columns = min_int(TILE_COLUMNS, d->columns - column);
  for (int row = 0; row < p->images * p->rows; row++) {
    int pixel = (p->image * v->out_h + p->row + row) * v->out_w + p->column;
    pack_columns(d->g + pixel * d->stride + column, d->stride, p->columns, columns,
                 panel + row * p->columns * TILE_COLUMNS, p->columns, TILE_COLUMNS);
  }
}

// Add the products of one patch to the tiles of a block, in order of panels, then of rows.
static void accumulate_filter_grad(const conv_block_t *b, const conv_patch_t *p,
                                   const float *origin, int pixels) {
  const filter_grad_t *d = &b->filter_grad;
  int tiles = ceil_div(b->k, TILE_ROWS), first_row = b->tap * b->v->channels;
  int row_offsets[TILE_ROWS];
  for (int i = 0; i < TILE_ROWS; i++) row_offsets[i] = i * d->stride;
  microtile_t tile = {.b = b->scratch->filter, .b_stride = TILE_COLUMNS, .k = pixels,
                      .accumulate = p->image + p->row + p->column > 0};
  for (int i = b->tile, packed = -1; i < b->tile_end; i++) {
    int panel = i / tiles, column = panel * TILE_COLUMNS, row = i % tiles * TILE_ROWS;
    if (panel != packed) pack_output_grad(b->v, p, d, column, b->scratch->filter);
    packed = panel;
    tile.rows = min_int(TILE_ROWS, b->k - row);
    tile.columns = min_int(TILE_COLUMNS, d->columns - column);
    microkernel_for_columns(&tile, origin, b->scratch->window_offsets + row,
                            b->scratch->pixel_offsets,
                            d->grad + (first_row + row) * d->stride + column, row_offsets);
  }
}

// Run the epilogue on the tiles of a block, in the order of accumulate_filter_grad.
static void run_filter_grad_epilogue(const conv_block_t *b) {
  const filter_grad_t *d = &b->filter_grad;
  int tiles = ceil_div(b->k, TILE_ROWS);
  for (int i = b->tile, next; i < b->tile_end; i = next) {
    int panel = i / tiles, column = panel * TILE_COLUMNS, row = i % tiles * TILE_ROWS;
    next = min_int(b->tile_end, (panel + 1) * tiles);
    int rows = min_int(b->k - row, (next - i) * TILE_ROWS);
    run_epilogue(d->epilogue, d->grad + (b->tap * b->v->channels + row) * d->stride + column, rows,
                 min_int(TILE_COLUMNS, d->columns - column));
  }
}

void conv_dense_filter_grad(const conv_windows_t *v, const float *g, int columns, int stride,
                            float *grad, const epilogue_args_t *epilogue) {
  int taps = v->taps_y * v->taps_x;
  if (!taps || !v->channels || !columns) return;
  if (winograd_fits(v, columns)) {
    conv_winograd_filter_grad(v, g, columns, stride, grad, epilogue);
    return;
  }
  if (!v->n || !v->out_h || !v->out_w) {
    int end = partition_begin(taps * v->channels, v->thread + 1, v->threads);
    for (int row = partition_begin(taps * v->channels, v->thread, v->threads); row < end; row++) {
      fill_zero(grad + row * stride, columns);
      run_epilogue(epilogue, grad + row * stride, 1, columns);
    }
    return;
  }
  conv_block_t b = first_block(v);
  b.filter_grad = (filter_grad_t){g, columns, stride, grad, epilogue};
  while (b.tap_end < taps) {
    next_taps(&b, MAX_BLOCK_K);
    int tiles = ceil_div(b.k, TILE_ROWS) * ceil_div(columns, TILE_COLUMNS);
    b.tile = partition_begin(tiles, v->thread, v->threads);
    b.tile_end = partition_begin(tiles, v->thread + 1, v->threads);
    if (b.tile < b.tile_end) for_each_patch(&b, 0, v->n * v->out_h, accumulate_filter_grad);
    run_filter_grad_epilogue(&b);
  }
}
