// Depthwise convolution: one filter for each channel, with four channels in the lanes of a vector.
//
// The part of an image that a rectangle of outputs reads is copied into zero-padded planes of four
// channels. The inner loops then have no borders, and pixels are always four floats apart, a
// compile-time constant. Sixteen channels, a cache line, are processed together.

#include "implicit_gemm_conv.h"

enum {
  GROUP = 16, VECTORS = GROUP / 4,  // channels that are processed together
  PLANE_FLOATS = 8192,  // of one plane, 32 KB, unless one row of outputs reads more
  MAX_PLANE_FLOATS = 65536,
  MAX_TAPS = 4096,
  OUTPUTS = 4,  // adjacent outputs that are accumulated together
};

typedef struct {
  float planes[VECTORS * MAX_PLANE_FLOATS + 4 * OUTPUTS * 8];  // the last outputs may read beyond
  float taps[VECTORS * 4 * MAX_TAPS];
} depthwise_scratch_t;

_Static_assert(sizeof(depthwise_scratch_t) <= SCRATCH_BYTES, "depthwise needs more scratch");

// A rectangle of the outputs of an image, and the size of the planes that it reads.
typedef struct {
  int image, row, rows, column, columns;
  int width, height;  // of the planes, in pixels
} depthwise_task_t;

static int64_t plane_size(const conv_windows_t *v, int rows, int columns) {
  return (int64_t)4 * input_extent(rows, v->stride_y, v->taps_y, v->dilation_y) *
         input_extent(columns, v->stride_x, v->taps_x, v->dilation_x);
}

int depthwise_fits(const conv_windows_t *v) {
  return (int64_t)v->taps_y * v->taps_x <= MAX_TAPS && plane_size(v, 1, 1) <= MAX_PLANE_FLOATS;
}

static depthwise_task_t choose_task_size(const conv_windows_t *v) {
  depthwise_task_t t = {.columns = v->out_w, .rows = v->out_h};
  while (plane_size(v, 1, t.columns) > MAX_PLANE_FLOATS) t.columns = ceil_div(t.columns, 2);
  while (t.rows > 1 && plane_size(v, t.rows, t.columns) > PLANE_FLOATS)
    t.rows = ceil_div(t.rows, 2);
  return t;
}

// Copy a row of pixels: `vectors` vectors of channels, then `lanes` channels of a partial vector.
INLINE void copy_pixels(const float *source, int c, int count, int vectors, int lanes, float *plane,
                        int plane_stride) {
  for (int x = 0; x < count; x++, source += c, plane += 4) {
    for (int i = 0; i < vectors; i++)
      wasm_v128_store(plane + i * plane_stride, wasm_v128_load(source + 4 * i));
    if (lanes)
      wasm_v128_store(plane + vectors * plane_stride, load_lanes(source + 4 * vectors, lanes));
  }
}

// Copy channels [k, end) of the input of a task into zero-padded planes.
static void copy_channel_planes(const conv_windows_t *v, const depthwise_task_t *t, int k, int end,
                                float *planes) {
  int top = v->origin_y + t->row * v->stride_y, left = v->origin_x + t->column * v->stride_x;
  int before = min_int(t->width, max_int(0, -left)), plane_stride = 4 * t->width * t->height;
  int after = max_int(before, min_int(t->width, v->w - left)), count = after - before;
  for (int y = top; y < top + t->height; y++, planes += 4 * t->width) {
    int inside = y >= 0 && y < v->h;
    for (int i = 0; i < ceil_div(end - k, 4); i++) {
      fill_zero(planes + i * plane_stride, 4 * (inside ? before : t->width));
      fill_zero(planes + i * plane_stride + 4 * after, 4 * (t->width - after));
    }
    if (!inside) continue;
    const float *source = v->input + ((t->image * v->h + y) * v->w + left + before) * v->c + k;
    if (end - k == GROUP)
      copy_pixels(source, v->c, count, VECTORS, 0, planes + 4 * before, plane_stride);
    else
      copy_pixels(source, v->c, count, (end - k) / 4, (end - k) % 4, planes + 4 * before,
                  plane_stride);
  }
}

typedef void (*task_function_t)(const conv_windows_t *, const depthwise_task_t *, void *);

// Call `function` for tasks [begin, end) of the given size, which tile the outputs of all images.
INLINE void for_each_task(const conv_windows_t *v, depthwise_task_t size, int begin, int end,
                          task_function_t function, void *data) {
  int across = ceil_div(v->out_w, size.columns), down = ceil_div(v->out_h, size.rows);
  for (int i = begin; i < end; i++) {
    depthwise_task_t t = {.image = i / (across * down), .row = i / across % down * size.rows,
                          .column = i % across * size.columns};
    t.rows = min_int(size.rows, v->out_h - t.row);
    t.columns = min_int(size.columns, v->out_w - t.column);
    t.width = input_extent(t.columns, v->stride_x, v->taps_x, v->dilation_x);
    t.height = input_extent(t.rows, v->stride_y, v->taps_y, v->dilation_y);
    function(v, &t, data);
  }
}

static int task_count(const conv_windows_t *v, depthwise_task_t size) {
  return v->n * ceil_div(v->out_w, size.columns) * ceil_div(v->out_h, size.rows);
}

// -- convolution --------------------------------------------------------------------------------

// The sums of OUTPUTS adjacent outputs over all taps. If `taps`, the number of taps in a row, is
// not 0, it and the stride are compile-time constants without dilation: each input is then loaded
// once for all outputs.
INLINE void conv_taps(const conv_windows_t *v, const float *x, int x_row, const float *w,
                      f32x4 *sum, int taps, int stride) {
  for (int o = 0; o < OUTPUTS; o++) sum[o] = wasm_f32x4_splat(0);
  NOT_UNROLLED for (int i = 0; i < v->taps_y; i++, x += x_row)
    if (taps) {
      f32x4 tap[5];
      for (int j = 0; j < taps; j++, w += 4) tap[j] = wasm_v128_load(w);
      for (int k = 0; k < (OUTPUTS - 1) * stride + taps; k++) {
        f32x4 value = wasm_v128_load(x + 4 * k);
        for (int o = 0; o < OUTPUTS; o++)
          if (k - o * stride >= 0 && k - o * stride < taps)
            sum[o] = multiply_add(value, tap[k - o * stride], sum[o]);
      }
    } else {
      for (int j = 0; j < v->taps_x; j++, w += 4)
        for (int o = 0; o < OUTPUTS; o++)
          sum[o] = multiply_add(wasm_v128_load(x + 4 * (j * v->dilation_x + o * v->stride_x)),
                                wasm_v128_load(w), sum[o]);
    }
}

typedef struct {
  const filter_view_t *filter;
  const output_view_t *out;
  depthwise_scratch_t *scratch;
  int k, end;  // channels
} depthwise_conv_t;

// Compute OUTPUTS outputs from `first`; store `lanes` channels of the first `count` outputs.
INLINE void conv_outputs(const conv_windows_t *v, const depthwise_task_t *t, const float *x,
                         const float *w, float *out, int pixel_stride, int first, int count,
                         int lanes, int taps, int stride) {
  f32x4 sum[OUTPUTS];
  conv_taps(v, x + 4 * first * v->stride_x, 4 * v->dilation_y * t->width, w, sum, taps, stride);
  out += first * pixel_stride;
  for (int o = 0; o < OUTPUTS && o < count; o++, out += pixel_stride)
    store_lanes(out, sum[o], lanes);
}

INLINE void conv_row(const conv_windows_t *v, const depthwise_task_t *t, const float *x,
                     const float *w, float *out, int pixel_stride, int lanes, int taps,
                     int stride) {
  int o = 0;
  if (lanes >= 4)
    NOT_UNROLLED for (; o + OUTPUTS <= t->columns; o += OUTPUTS)
      conv_outputs(v, t, x, w, out, pixel_stride, o, OUTPUTS, 4, taps, stride);
  NOT_UNROLLED for (; o < t->columns; o += OUTPUTS)
    conv_outputs(v, t, x, w, out, pixel_stride, o, t->columns - o, lanes, taps, stride);
}

static float *task_output(const output_view_t *out, const depthwise_task_t *t) {
  return out->data + t->image * out->image_stride + t->row * out->row_stride +
         t->column * out->pixel_stride;
}

INLINE void conv_rows(const conv_windows_t *v, const depthwise_task_t *t,
                      const depthwise_conv_t *d, int taps, int stride) {
  float *out = task_output(d->out, t) + d->k;
  const float *x = d->scratch->planes;
  int plane_stride = 4 * t->width * t->height, filter_size = 4 * v->taps_y * v->taps_x;
  for (int y = 0; y < t->rows; y++, x += 4 * v->stride_y * t->width, out += d->out->row_stride)
    for (int i = 0; i < d->end - d->k; i += 4)
      conv_row(v, t, x + i / 4 * plane_stride, d->scratch->taps + i / 4 * filter_size, out + i,
               d->out->pixel_stride, d->end - d->k - i, taps, stride);
}

// Only the common sizes of filters have specialized code.
static void conv_planes(const conv_windows_t *v, const depthwise_task_t *t,
                        const depthwise_conv_t *d) {
  int dense = v->dilation_x == 1, taps = v->taps_x, stride = v->stride_x;
  if (dense && taps == 3 && stride == 1)
    conv_rows(v, t, d, 3, 1);
  else if (dense && taps == 3 && stride == 2)
    conv_rows(v, t, d, 3, 2);
  else if (dense && taps == 2 && stride == 1)
    conv_rows(v, t, d, 2, 1);
  else if (dense && taps == 5 && stride == 1)
    conv_rows(v, t, d, 5, 1);
  else
    conv_rows(v, t, d, 0, 0);
}

static void pack_taps(const conv_windows_t *v, const filter_view_t *f, int k, int end,
                      float *taps) {
  for (; k < end; k += 4)
    for (int i = 0; i < v->taps_y; i++)
      for (int j = 0; j < v->taps_x; j++, taps += 4)
        wasm_v128_store(taps, load_lanes(f->data + i * f->tap_stride_y + j * f->tap_stride_x + k,
                                         end - k));
}

static void run_task_epilogue(const depthwise_task_t *t, const output_view_t *view, int k,
                              int channels) {
  const float *out = task_output(view, t) + k;
  int step = view->pixel_stride == view->epilogue.columns ? t->columns : 1;
  for (int y = 0; y < t->rows; y++, out += view->row_stride)
    for (int x = 0; x < t->columns; x += step)
      run_epilogue(&view->epilogue, out + x * view->pixel_stride, step, channels);
}

static void conv_channel_group(const conv_windows_t *v, const depthwise_task_t *t, void *data) {
  const depthwise_conv_t *d = data;
  copy_channel_planes(v, t, d->k, d->end, d->scratch->planes);
  pack_taps(v, d->filter, d->k, d->end, d->scratch->taps);
  conv_planes(v, t, d);
  if (d->out->epilogue.function) run_task_epilogue(t, d->out, d->k, d->end - d->k);
}

// Pairs of a task and a group of channels are partitioned across threads.
void conv_depthwise(const conv_windows_t *v, const filter_view_t *f, const output_view_t *out) {
  if (!v->out_w || !v->out_h) return;
  depthwise_task_t size = choose_task_size(v);
  int tasks = task_count(v, size), groups = ceil_div(v->c, GROUP);
  int unit = partition_begin((int64_t)tasks * groups, v->thread, v->threads);
  int end = partition_begin((int64_t)tasks * groups, v->thread + 1, v->threads);
  for (; unit < end; unit++) {
    int k = unit % groups * GROUP, task = unit / groups;
    depthwise_conv_t d = {f, out, (depthwise_scratch_t *)scratch(v->thread), k,
                          min_int(v->c, k + GROUP)};
    for_each_task(v, size, task, task + 1, conv_channel_group, &d);
  }
}

// -- gradient of the filter ---------------------------------------------------------------------

// Add the contribution of `outputs` adjacent outputs to the sums of taps_y rows of `taps` taps.
INLINE void accumulate_taps(const float *x, int x_row, const float *g, int pixel_stride, int lanes,
                            f32x4 *sum, int outputs, int taps_y, int taps, int stride) {
  f32x4 gradient[OUTPUTS];
  for (int o = 0; o < outputs; o++) gradient[o] = load_lanes(g + o * pixel_stride, lanes);
  for (int i = 0; i < taps_y; i++, x += x_row)
    for (int k = 0; k < (outputs - 1) * stride + taps; k++) {
      f32x4 value = wasm_v128_load(x + 4 * k);
      for (int o = 0; o < outputs; o++)
        if (k - o * stride >= 0 && k - o * stride < taps)
          sum[i * taps + k - o * stride] =
              multiply_add(value, gradient[o], sum[i * taps + k - o * stride]);
    }
}

typedef struct {
  const float *g;
  depthwise_scratch_t *scratch;
  int k, end;  // channels
} depthwise_grad_t;

// Add one row of outputs to the gradients of taps_y x taps taps, which begin at `grad`. If `stride`
// is 0, it is no compile-time constant, and outputs are processed one at a time.
INLINE void accumulate_output_row(const conv_windows_t *v, const depthwise_task_t *t,
                                  const float *x, const float *g, float *grad, int lanes,
                                  int taps_y, int taps, int stride) {
  f32x4 sum[9];
  int x_row = 4 * v->dilation_y * t->width, o = 0;
  for (int i = 0; i < taps_y * taps; i++) sum[i] = wasm_f32x4_splat(0);
  for (; stride && o + OUTPUTS <= t->columns; o += OUTPUTS)
    accumulate_taps(x + 4 * o * stride, x_row, g + o * v->c, v->c, lanes, sum, OUTPUTS, taps_y,
                    taps, stride);
  for (; o < t->columns; o++)
    accumulate_taps(x + 4 * o * v->stride_x, x_row, g + o * v->c, v->c, lanes, sum, 1, taps_y,
                    taps, 1);
  for (int i = 0; i < taps_y * taps; i++) {
    float *tap = grad + 4 * (i / taps * v->taps_x + i % taps);
    wasm_v128_store(tap, wasm_f32x4_add(wasm_v128_load(tap), sum[i]));
  }
}

// Add a task to the gradients of taps [i, i + taps_y) x [j, j + taps).
INLINE void accumulate_output_rows(const conv_windows_t *v, const depthwise_task_t *t,
                                   const depthwise_grad_t *d, int i, int j, int taps_y, int taps,
                                   int stride) {
  int plane_stride = 4 * t->width * t->height, filter_size = 4 * v->taps_y * v->taps_x;
  const float *x = d->scratch->planes + 4 * (i * v->dilation_y * t->width + j * v->dilation_x);
  const float *g = d->g + ((t->image * v->out_h + t->row) * v->out_w + t->column) * v->c + d->k;
  float *grad = d->scratch->taps + 4 * (i * v->taps_x + j);
  for (int y = 0; y < t->rows; y++, x += 4 * v->stride_y * t->width, g += v->out_w * v->c)
    for (int k = 0; k < d->end - d->k; k += 4)
      accumulate_output_row(v, t, x + k / 4 * plane_stride, g + k, grad + k / 4 * filter_size,
                            d->end - d->k - k, taps_y, taps, stride);
}

static void accumulate_task(const conv_windows_t *v, const depthwise_task_t *t, void *data) {
  const depthwise_grad_t *d = data;
  copy_channel_planes(v, t, d->k, d->end, d->scratch->planes);
  int dense = v->dilation_x == 1, taps = v->taps_x, stride = v->stride_x;
  if (dense && taps == 3 && v->taps_y == 3 && stride == 1)
    accumulate_output_rows(v, t, d, 0, 0, 3, 3, 1);
  else if (dense && taps == 3 && v->taps_y == 3 && stride == 2)
    accumulate_output_rows(v, t, d, 0, 0, 3, 3, 2);
  else if (dense && taps == 5 && stride == 1)
    for (int i = 0; i < v->taps_y; i++) accumulate_output_rows(v, t, d, i, 0, 1, 5, 1);
  else
    for (int i = 0; i < v->taps_y; i++)
      for (int j = 0; j < taps; j++) accumulate_output_rows(v, t, d, i, j, 1, 1, 0);
}

// Channels are partitioned across threads; each channel's gradient is a sum over all outputs.
void conv_depthwise_filter_grad(const conv_windows_t *v, const float *g, float *grad,
                                const epilogue_args_t *epilogue) {
  int vectors = ceil_div(v->c, 4), taps = v->taps_y * v->taps_x;
  int begin = partition_begin(vectors, v->thread, v->threads) * 4;
  int end = min_int(v->c, partition_begin(vectors, v->thread + 1, v->threads) * 4);
  depthwise_grad_t d = {.g = g, .scratch = (depthwise_scratch_t *)scratch(v->thread)};
  for (d.k = begin; d.k < end; d.k = d.end) {
    d.end = min_int(end, d.k + GROUP);
    fill_zero(d.scratch->taps, 4 * VECTORS * taps);
    if (v->out_h && v->out_w) {
      depthwise_task_t size = choose_task_size(v);
      for_each_task(v, size, 0, task_count(v, size), accumulate_task, &d);
    }
    for (int k = d.k, i = 0; k < d.end; k += 4)
      for (int tap = 0; tap < taps; tap++, i += 4)
        store_lanes(grad + tap * v->c + k, wasm_v128_load(d.scratch->taps + i), d.end - k);
  }
  if (begin < end) run_epilogue(epilogue, grad + begin, taps, end - begin);
}
