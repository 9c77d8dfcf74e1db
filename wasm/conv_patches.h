// Patches of outputs for implicit GEMM, and the offset tables of the inputs that they read.
//
// Each input of a window is at pixel offset + window offset: the pixel offset depends only on the
// output, the window offset only on tap and channel. Two tables therefore replace im2col, and
// microkernel_indirect reads the images in place. If windows extend beyond the image, the part of
// the images that a patch reads is first copied to the scratch with zero padding.
#pragma once

#include "engine.h"
#include "gemm_microkernel.h"
#include "implicit_gemm_conv.h"

enum {
  MAX_PATCH_PIXELS = 1024,     // outputs of one patch
  MAX_BLOCK_K = MAX_CHANNELS,  // window values (taps x channels) of one block
  BLOCK_K = 2048,              // the same, unless one tap has more channels: a panel of 64 KB
  FILTER_FLOATS = 131072,      // packed columns of the filter, 512 KB
  PADDED_FLOATS = 160000,      // padded copy of the input, 640 KB
};

typedef struct {
  float filter[FILTER_FLOATS];
  float padded[PADDED_FLOATS];
  int pixel_offsets[MAX_PATCH_PIXELS + TILE_ROWS], output_offsets[MAX_PATCH_PIXELS + TILE_ROWS];
  int window_offsets[MAX_BLOCK_K + TILE_ROWS];
} conv_scratch_t;

_Static_assert(sizeof(conv_scratch_t) <= SCRATCH_BYTES, "convolution needs more scratch");

// The gradient g of the outputs, and the gradient of the filter to compute; the rows of both have
// `columns` floats at a distance of `stride`.
typedef struct {
  const float *g;
  int columns, stride;
  float *grad;
  const epilogue_args_t *epilogue;
} filter_grad_t;

// A rectangle of the outputs of one image, or all outputs of several images.
typedef struct {
  int image, images, row, rows, column, columns;
} conv_patch_t;

// -- patches and their input --------------------------------------------------------------------

static int needs_padding(const conv_windows_t *v) {
  return v->origin_y < 0 || v->origin_x < 0 ||
         v->origin_y + input_extent(v->out_h, v->stride_y, v->taps_y, v->dilation_y) > v->h ||
         v->origin_x + input_extent(v->out_w, v->stride_x, v->taps_x, v->dilation_x) > v->w;
}

// Floats of the padded copy for a patch of one image.
static int64_t padded_size(const conv_windows_t *v, int rows, int columns) {
  return (int64_t)input_extent(rows, v->stride_y, v->taps_y, v->dilation_y) *
         input_extent(columns, v->stride_x, v->taps_x, v->dilation_x) * v->channels;
}

static conv_patch_t largest_patch(const conv_windows_t *v, int padded) {
  conv_patch_t p = {.images = 1, .columns = min_int(v->out_w, MAX_PATCH_PIXELS)};
  while (padded && padded_size(v, 1, p.columns) > PADDED_FLOATS) p.columns = ceil_div(p.columns, 2);
  p.rows = p.columns < v->out_w ? 1 : min_int(v->out_h, MAX_PATCH_PIXELS / p.columns);
  while (padded && padded_size(v, p.rows, p.columns) > PADDED_FLOATS) p.rows = ceil_div(p.rows, 2);
  if (p.rows == v->out_h && p.columns == v->out_w) {
    p.images = MAX_PATCH_PIXELS / (p.rows * p.columns);
    if (padded)
      p.images = min_int(p.images, PADDED_FLOATS / (int)padded_size(v, p.rows, p.columns));
  }
  return p;
}

// Strides in floats of the images that the offset tables refer to: the input, or its padded copy.
typedef struct {
  int padded, image_stride, row_stride, pixel_stride;
} image_layout_t;

static image_layout_t image_layout(const conv_windows_t *v, const conv_patch_t *p, int padded) {
  if (!padded) return (image_layout_t){0, v->h * v->w * v->c, v->w * v->c, v->c};
  int row = input_extent(p->columns, v->stride_x, v->taps_x, v->dilation_x) * v->channels;
  int rows = input_extent(p->rows, v->stride_y, v->taps_y, v->dilation_y);
  return (image_layout_t){1, rows * row, row, v->channels};
}

// Copy `width` pixels from column x of an image row; pixels outside of the image are zero.
static void copy_padded_row(const conv_windows_t *v, const float *row, int x, int width,
                            float *copy) {
  int begin = min_int(width, max_int(0, -x)), end = max_int(begin, min_int(width, v->w - x));
  fill_zero(copy, begin * v->channels);
  for (int i = begin; i < end; i++)
    for (int k = 0; k < v->channels; k += 4)
      store_lanes(copy + i * v->channels + k,
                  load_lanes(row + (x + i) * v->c + k, v->channels - k), v->channels - k);
  fill_zero(copy + end * v->channels, (width - end) * v->channels);
}

static void copy_padded_patch(const conv_windows_t *v, const conv_patch_t *p,
                              const image_layout_t *l, float *copy) {
  int y = v->origin_y + p->row * v->stride_y, x = v->origin_x + p->column * v->stride_x;
  int height = l->image_stride / l->row_stride, width = l->row_stride / l->pixel_stride;
  for (int image = p->image; image < p->image + p->images; image++)
    for (int i = 0; i < height; i++, copy += l->row_stride) {
      const float *row = v->input + (image * v->h + y + i) * v->w * v->c + v->channel;
      if (y + i >= 0 && y + i < v->h)
        copy_padded_row(v, row, x, width, copy);
      else
        fill_zero(copy, l->row_stride);
    }
}

// The input of the patch's first output at tap (0, 0) and channel 0.
static const float *patch_origin(const conv_windows_t *v, const conv_patch_t *p,
                                 const image_layout_t *l, conv_scratch_t *s) {
  if (l->padded) {
    copy_padded_patch(v, p, l, s->padded);
    return s->padded;
  }
  return v->input + p->image * l->image_stride +
         (v->origin_y + p->row * v->stride_y) * l->row_stride +
         (v->origin_x + p->column * v->stride_x) * l->pixel_stride + v->channel;
}

// -- offset tables --------------------------------------------------------------------------------

// offsets[i] = image * image_stride + row * row_stride + column * column_stride for each output of
// the patch. The last offset is repeated to fill a whole tile. Returns the number of outputs.
static int fill_pixel_offsets(const conv_patch_t *p, int image_stride, int row_stride,
                              int column_stride, int *offsets) {
  int count = 0;
  for (int image = 0; image < p->images; image++)
    for (int y = 0; y < p->rows; y++)
      for (int x = 0; x < p->columns; x++)
        offsets[count++] = image * image_stride + y * row_stride + x * column_stride;
  for (int i = 0; i < TILE_ROWS; i++) offsets[count + i] = offsets[count - 1];
  return count;
}

// The offsets of all channels of taps [tap, end), in row-major order. Returns their number.
static int fill_window_offsets(const conv_windows_t *v, const image_layout_t *l, int tap, int end,
                               int *offsets) {
  int count = 0;
  for (; tap < end; tap++) {
    int offset = tap / v->taps_x * v->dilation_y * l->row_stride +
                 tap % v->taps_x * v->dilation_x * l->pixel_stride;
    for (int k = 0; k < v->channels; k++) offsets[count++] = offset + k;
  }
  for (int i = 0; i < TILE_ROWS; i++) offsets[count + i] = offsets[count - 1];
  return count;
}

// Patches of the same shape have the same tables.
static int same_shape(const conv_patch_t *a, const conv_patch_t *b) {
  return a->images == b->images && a->rows == b->rows && a->columns == b->columns;
}

// -- blocks ---------------------------------------------------------------------------------------

// One block of the product: a range of taps, and a range of columns of the filter or of tiles of
// its gradient.
typedef struct {
  const conv_windows_t *v;
  conv_scratch_t *scratch;
  conv_patch_t largest_patch;
  image_layout_t layout;
  output_view_t out;
  int tap, tap_end, k;  // k window values
  int column, columns;
  filter_grad_t filter_grad;
  int tile, tile_end;
} conv_block_t;

static conv_block_t first_block(const conv_windows_t *v) {
  conv_block_t b = {.v = v, .scratch = (conv_scratch_t *)scratch(v->thread)};
  int padded = needs_padding(v);
  b.largest_patch = largest_patch(v, padded);
  b.layout = image_layout(v, &b.largest_patch, padded);
  return b;
}

// Advance to the next taps: at most max_k window values, but at least one tap.
static void next_taps(conv_block_t *b, int max_k) {
  b->tap = b->tap_end;
  b->tap_end = min_int(b->v->taps_y * b->v->taps_x, b->tap + max_int(1, max_k / b->v->channels));
  b->k = fill_window_offsets(b->v, &b->layout, b->tap, b->tap_end, b->scratch->window_offsets);
}

// The next patch of the output rows [row, end) of all images.
static conv_patch_t next_patch(const conv_block_t *b, int row, int end) {
  int rows = b->v->out_h;
  conv_patch_t p = b->largest_patch;
  p.image = row / rows, p.row = row % rows;
  if (p.row == 0 && p.rows == rows && end - row >= rows)
    p.images = min_int(p.images, (end - row) / rows);
  else
    p.images = 1, p.rows = min_int(min_int(p.rows, rows - p.row), end - row);
  return p;
}

// Fill the tables for a patch, unless they already have its shape. Returns the number of outputs.
static int update_patch_tables(const conv_block_t *b, const conv_patch_t *p,
                               conv_patch_t *table_shape, int pixels) {
  if (same_shape(p, table_shape)) return pixels;
  const image_layout_t *l = &b->layout;
  const output_view_t *out = &b->out;
  *table_shape = *p;
  fill_pixel_offsets(p, out->image_stride, out->row_stride, out->pixel_stride,
                     b->scratch->output_offsets);
  return fill_pixel_offsets(p, l->image_stride, b->v->stride_y * l->row_stride,
                            b->v->stride_x * l->pixel_stride, b->scratch->pixel_offsets);
}

typedef void (*patch_function_t)(const conv_block_t *, const conv_patch_t *, const float *origin,
                                 int pixels);

// Call `function` for each patch of the output rows [row, end) of all images, with its tables.
INLINE void for_each_patch(const conv_block_t *b, int row, int end, patch_function_t function) {
  int pixels = 0;
  for (conv_patch_t p, table_shape = {0}; row < end; row += p.images * p.rows) {
    p = next_patch(b, row, end);
    for (p.column = 0; p.column < b->v->out_w; p.column += b->largest_patch.columns) {
      p.columns = min_int(b->largest_patch.columns, b->v->out_w - p.column);
      pixels = update_patch_tables(b, &p, &table_shape, pixels);
      function(b, &p, patch_origin(b->v, &p, &b->layout, b->scratch), pixels);
    }
  }
}
