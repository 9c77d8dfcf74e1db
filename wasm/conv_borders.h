// Border handling of convolution: ranges of outputs whose windows have the same taps inside of the
// image.
#pragma once

#include "implicit_gemm_conv.h"

// `outputs` adjacent outputs along one axis, and their taps inside of the image.
typedef struct {
  int first, outputs, tap, taps;
} output_range_t;

// The range of a single output.
INLINE output_range_t valid_taps(int output, int stride, int origin, int taps, int dilation,
                                 int size) {
  int begin = origin + output * stride;
  int tap = begin < 0 ? ceil_div(-begin, dilation) : 0;
  int end = begin < size ? min_int(taps, ceil_div(size - begin, dilation)) : 0;
  return tap < end ? (output_range_t){output, 1, tap, end - tap}
                   : (output_range_t){output, 1, 0, 0};
}

// The longest range that begins with output `first`.
static inline output_range_t range_from(int first, int outputs, int stride, int origin, int taps,
                                        int dilation, int size) {
  output_range_t range = valid_taps(first, stride, origin, taps, dilation, size);
  for (int i = first + 1; i < outputs; i++, range.outputs++) {
    output_range_t next = valid_taps(i, stride, origin, taps, dilation, size);
    if (next.tap != range.tap || next.taps != range.taps) break;
  }
  return range;
}

static inline output_range_t row_range(const conv_windows_t *v, int first) {
  return range_from(first, v->out_h, v->stride_y, v->origin_y, v->taps_y, v->dilation_y, v->h);
}

static inline output_range_t column_range(const conv_windows_t *v, int first) {
  return range_from(first, v->out_w, v->stride_x, v->origin_x, v->taps_x, v->dilation_x, v->w);
}
