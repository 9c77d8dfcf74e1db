// The numbers of a convolution, as engine.h orders them.
#pragma once

#include "epilogue.h"

typedef struct {
  int n, h, wd, c, kh, kw, co, oh, ow, sh, sw, dh, dw, pt, pl, groups;
  epilogue_t epilogue;
  int *arguments, thread, threads;
} conv_t;

#define CONV_VALUES \
  n, h, wd, c, kh, kw, co, oh, ow, sh, sw, dh, dw, pt, pl, groups, epilogue, arguments, thread, \
      threads

// What follows the convolution's output, whose pixels, or taps and channels, have `columns` floats.
static inline after_t after_conv(const conv_t *p, const float *out, int columns) {
  return (after_t){p->epilogue, p->arguments, out, columns};
}

// kernels/depthwise.c: one input channel for each output channel.
static inline int is_depthwise(const conv_t *p) { return p->groups == p->c && p->c == p->co; }
void depthwise(const conv_t *p, const float *x, const float *w, float *out);
void depthwise_input_grad(const conv_t *p, const float *g, const float *w, float *dx);
void depthwise_filter_grad(const conv_t *p, const float *x, const float *g, float *dw);
