// Windows that slide over a batch of images, multiplied with a filter; see windows.c.
#pragma once

#include "epilogue.h"
#include "simd.h"

// Output (y, x) of an image sees, for tap (i, j), the `channels` channels from `channel` on of
// pixel (start_y + y * step_y + i * gap_y, start_x + x * step_x + j * gap_x); zero if outside.
typedef struct {
  const float *from;  // n images of h x w pixels of c channels
  int n, h, w, c;
  int channel, channels;
  int rows, columns;  // of outputs, for each image
  int step_y, step_x, start_y, start_x, taps_y, taps_x, gap_y, gap_x;
  int thread, threads;
} windows_t;

// The values that tap (i, j) and channel k meet for the output's channels ("columns"):
// tap = at + i * tap_y + j * tap_x, then tap[k * stride + column], or, if transposed,
// tap[column * stride + k].
typedef struct {
  const float *at;
  int columns, stride, tap_y, tap_x, transposed;
} filter_t;

// Where outputs go: to[n * image + y * row + x * pixel + column], and what follows them there.
typedef struct {
  float *to;
  int image, row, pixel;
  after_t after;
} target_t;

// The tables of a thread's scratch hold this many values for one tap.
enum { MOST_CHANNELS = 16384 };

// Whether a window that leaves its image can be copied, or none leaves it.
int windows_fit(const windows_t *v);

// to = windows x filter.
void correlate(const windows_t *v, const filter_t *filter, const target_t *to);

// out[(tap, channel) * stride + column] = sum over all outputs of window value x g; g has
// `columns` values for each output, outputs are `stride` apart. The windows must fit.
void correlate_filter(const windows_t *v, const float *g, int columns, int stride, float *out,
                      const after_t *after);

// winograd.c: the same for windows of 3 x 3 that it fits.
int winograd_fits(const windows_t *v, int columns);
void correlate_winograd(const windows_t *v, const filter_t *filter, const target_t *to);
void correlate_filter_winograd(const windows_t *v, const float *g, int columns, int stride,
                               float *out, const after_t *after);

// kernels/depthwise.c: the same where each channel has a filter, and an output, of its own. All
// channels of the images take part; a tap of the filter has a value for each. Planes must fit.
int depthwise_fits(const windows_t *v);
void correlate_depthwise(const windows_t *v, const filter_t *filter, const target_t *to);
void correlate_filter_depthwise(const windows_t *v, const float *g, float *out,
                                const after_t *after);
