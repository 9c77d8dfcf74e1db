// Convolution of a batch of images with a filter, and the gradient of the filter: the interfaces of
// the implicit GEMM, Winograd and depthwise implementations.
#pragma once

#include "epilogue.h"
#include "simd.h"

// Tap (i, j) of output (y, x) reads `channels` channels, from `channel`, of the pixel
// (origin_y + y * stride_y + i * dilation_y, origin_x + x * stride_x + j * dilation_x). Pixels
// outside of the image are zero.
typedef struct {
  const float *input;  // n images of h x w pixels with c channels
  int n, h, w, c;
  int channel, channels;
  int out_h, out_w;
  int stride_y, stride_x, origin_y, origin_x, taps_y, taps_x, dilation_y, dilation_x;
  int thread, threads;
} conv_windows_t;

// The weight of tap (i, j) from input channel k to output channel `column` is
// tap[k * row_stride + column], or tap[column * row_stride + k] if transposed, where
// tap = data + i * tap_stride_y + j * tap_stride_x.
typedef struct {
  const float *data;
  int columns, row_stride, tap_stride_y, tap_stride_x, transposed;
} filter_view_t;

// Output (y, x) of image i is data[i * image_stride + y * row_stride + x * pixel_stride + column].
typedef struct {
  float *data;
  int image_stride, row_stride, pixel_stride;
  epilogue_args_t epilogue;
} output_view_t;

// The offset tables in the scratch of a thread hold this many channels of one tap.
enum { MAX_CHANNELS = 16384 };

// The number of input pixels that the windows of adjacent outputs span along one axis.
static inline int input_extent(int outputs, int stride, int taps, int dilation) {
  return (outputs - 1) * stride + (taps - 1) * dilation + 1;
}

// Whether no window extends beyond the image, or a window fits into the padded copy in the scratch.
int conv_padding_fits(const conv_windows_t *v);

// out = convolution of the windows with the filter.
void conv_dense(const conv_windows_t *v, const filter_view_t *filter, const output_view_t *out);

// grad[(tap, channel) * stride + column] = sum over all outputs of the input times g, the gradient
// of the outputs: `columns` values for each output, `stride` floats apart. Requires
// conv_padding_fits.
void conv_dense_filter_grad(const conv_windows_t *v, const float *g, int columns, int stride,
                            float *grad, const epilogue_args_t *epilogue);

// winograd.c: the same functions for 3 x 3 filters. Require winograd_fits.
int winograd_fits(const conv_windows_t *v, int columns);
void conv_winograd(const conv_windows_t *v, const filter_view_t *filter, const output_view_t *out);
void conv_winograd_filter_grad(const conv_windows_t *v, const float *g, int columns, int stride,
                               float *grad, const epilogue_args_t *epilogue);

// kernels/depthwise.c: the same functions for one filter and one output channel for each input
// channel, on all channels of the images. Require depthwise_fits.
int depthwise_fits(const conv_windows_t *v);
void conv_depthwise(const conv_windows_t *v, const filter_view_t *filter,
                    const output_view_t *out);
void conv_depthwise_filter_grad(const conv_windows_t *v, const float *g, float *grad,
                                const epilogue_args_t *epilogue);
