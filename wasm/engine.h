// Every function that the engine exports, once: name, signature, meaning, tolerance.
//
// build_scripts/engine.py reads the exports from the lines that begin with EXPORT or KERNEL( here.
//
// Buffers are contiguous, row-major, begin on 64 bytes, and are never touched beyond their length.
// A kernel does the share of `thread` out of `threads`, decided by these two numbers alone; no
// kernel waits for another thread. Floats are f32. Tolerances are relative to the sum of the
// absolute values of the terms: sums may be added up in another order than the reference's.
#pragma once

#include <stdint.h>

#define EXPORT
// KERNEL declares a kernel and, beside it, its plain reference of the same signature.
#define KERNEL(name, ...) \
  void name(__VA_ARGS__); \
  void name##_ref(__VA_ARGS__)

// -- memory.c: what the host gives each thread ------------------------------------------------

// Called once by the main thread: the number of threads, and threads * scratch_size() bytes of
// memory, beginning on 64 bytes, that no one else touches.
EXPORT void setup(int threads, uint8_t *areas);
EXPORT int scratch_size(void);
// The bytes of stack each helper needs; its host points its __stack_pointer to the end of them.
EXPORT int stack_size(void);
// The memory of one thread, scratch_size() bytes. Programs keep rows there while a kernel of
// theirs runs; kernels of the engine find nothing there and leave nothing.
EXPORT uint8_t *scratch(int thread);

// -- threads.c: programs over threads ---------------------------------------------------------

// Run program(thread, arguments) on every thread, or on this one alone if arguments[1], the
// number of threads that it wants, is 1. `program` is an index into __indirect_function_table.
// 0 once all are done, 1 if a helper trapped on the way.
EXPORT int launch(int program, int *arguments);
// Helpers live here. Returns only when the helper's host must act: 1 = load a module, 2 = quit.
EXPORT int park(int thread);
// The main thread hands every helper a command for its host: 1 = load the module of b bytes
// at a, 2 = quit.
EXPORT void publish(int command, int a, int b);
EXPORT int load_address(void);
EXPORT int load_size(void);
// A helper's host reports: the command is done (1) or has failed (0). It also reports 0 when
// the helper trapped inside park, before it parks the helper again.
EXPORT void acknowledge(int ok);
// Wait until every helper has acknowledged the last command; 0 if all said 1.
EXPORT int join(void);
// Between dependent kernels of a program: nobody leaves before all threads have arrived.
EXPORT void barrier(void);

// -- what may follow a product -----------------------------------------------------------------

// A function of the program that goes on with a rectangle of a kernel's output: `rows` rows from
// `row` on, `columns` columns from `column` on. As a parameter it is an index into
// __indirect_function_table, whose entry 1 is kept for it, or 0 for none. The kernel calls it on
// the thread that has made the rectangle, as soon as the sums there are final: once for each
// element, and never for an empty rectangle.
typedef void (*epilogue_t)(int *arguments, int row, int rows, int column, int columns);

// -- kernels/gemm.c ---------------------------------------------------------------------------

// out[i] = op(a[i]) @ op(b[i]) for i < batch, out[i] of m x n. a[i] is (m, k), or (k, m) when
// transpose_a; b[i] is (k, n), or (n, k) when transpose_b. The strides lead from one batch item
// to the next, in floats; 0 uses the same matrix again. The epilogue's matrix is (batch * m, n).
// Tolerance 1e-5.
KERNEL(gemm, const float *a, const float *b, float *out, int batch, int m, int n, int k,
       int transpose_a, int transpose_b, int stride_a, int stride_b, epilogue_t epilogue,
       int *arguments, int thread, int threads);

// -- kernels/conv.c ---------------------------------------------------------------------------

#define CONV_NUMBERS \
  int n, int h, int wd, int c, int kh, int kw, int co, int oh, int ow, int sh, int sw, int dh, \
      int dw, int pt, int pl, int groups, epilogue_t epilogue, int *arguments, int thread, \
      int threads

// x (n, h, wd, c), filter w (kh, kw, c / groups, co), out (n, oh, ow, co). Output (y, x) looks at
// input (y * sh + i * dh - pt, x * sw + j * dw - pl) for tap (i, j); outside of x lies zero.
// The epilogue's matrix has a row for each pixel of what is written, or tap and channel of dw_.
// Windows of 3 x 3 go through differences of their values: infinities may become NaN there.
// Tolerance 1e-5.
KERNEL(conv2d, const float *x, const float *w, float *out, CONV_NUMBERS);
// g (n, oh, ow, co) is the gradient of out; dx gets that of x. Tolerance 1e-5.
KERNEL(conv2d_input_grad, const float *g, const float *w, float *dx, CONV_NUMBERS);
// dw_ gets the gradient of w. Tolerance 1e-5.
KERNEL(conv2d_filter_grad, const float *x, const float *g, float *dw_, CONV_NUMBERS);

// -- kernels/pool.c ---------------------------------------------------------------------------

#define POOL_NUMBERS \
  int n, int h, int w, int c, int oh, int ow, int kh, int kw, int sh, int sw, int pt, int pl, \
      int thread, int threads

// Windows of (kh, kw) cells, (sh, sw) apart, the first one at (-pt, -pl), over x (n, h, w, c);
// cells outside of x do not count. The pools' outputs are (n, oh, ow, c).
// The maximum: a NaN wins, then the largest, then the first in row order; -inf if no cell counts.
KERNEL(max_pool, const float *x, float *out, POOL_NUMBERS);
// out = the value of y (n, h, w, c) where x has its window's maximum; 0 if no cell counts.
KERNEL(max_pool_select, const float *y, const float *x, float *out, POOL_NUMBERS);
// dx = 0, then dx[where x has its window's maximum] += g (n, oh, ow, c), window by window.
KERNEL(max_pool_scatter, const float *g, const float *x, float *dx, POOL_NUMBERS);
// The mean of the cells that count; 0 if none does. Tolerance 1e-6.
KERNEL(avg_pool, const float *x, float *out, POOL_NUMBERS);
KERNEL(avg_pool_grad, const float *g, float *dx, POOL_NUMBERS);

// -- kernels/attention.c ----------------------------------------------------------------------

#define ATTENTION_NUMBERS \
  int batch, int heads, int t_q, int t_k, int d, int d_v, int causal, float scale
#define MASK_STRIDES int mask_batch, int mask_head, int mask_q, int mask_k

// Softmax attention that never writes the matrix of scores. q (batch, t_q, heads, d), k (batch,
// t_k, heads, d), v (batch, t_k, heads, d_v), out (batch, t_q, heads, d_v). Query i sees the keys
// j <= i alone if causal. lse (batch, t_q, heads) gets the logarithm of the sum of the exponentials
// of the scores, scale * q . k. A key whose byte in the mask is 0 is hidden; the mask's strides are
// in bytes, 0 where it is the same along an axis. A query from which the mask hides every key takes
// all alike, with an lse below -1e37. Tolerance 1e-5 (1 + scale * sum of |q k|, at most).
KERNEL(attention, const float *q, const float *k, const float *v, float *out, float *lse,
       ATTENTION_NUMBERS, int thread, int threads);
KERNEL(attention_masked, const float *q, const float *k, const float *v, const uint8_t *mask,
       float *out, float *lse, ATTENTION_NUMBERS, MASK_STRIDES, int thread, int threads);
// g is the gradient of out, and delta (batch, t_q, heads) the sums of g * out over d_v, less the
// gradient of lse. dq, dk and dv get the gradients of q, k and v; that of scores that the mask
// hides is 0. Tolerance as above.
KERNEL(attention_grad, const float *q, const float *k, const float *v, const float *g,
       const float *lse, const float *delta, float *dq, float *dk, float *dv, ATTENTION_NUMBERS,
       int thread, int threads);
KERNEL(attention_grad_masked, const float *q, const float *k, const float *v, const float *g,
       const float *lse, const float *delta, const uint8_t *mask, float *dq, float *dk, float *dv,
       ATTENTION_NUMBERS, MASK_STRIDES, int thread, int threads);

// -- kernels/gather.c -------------------------------------------------------------------------

// out[o, i, :] = x[o, indices[i], :]; x is (outer, rows, inner_bytes). An index outside of
// 0..rows-1 gives zero bytes. Exact.
KERNEL(gather, const uint8_t *x, const int *indices, uint8_t *out, int outer, int rows, int count,
       int inner_bytes, int thread, int threads);
// out (rows, inner) = 0, then out[indices[i], :] += updates[i, :] in order of i; indices outside
// of 0..rows-1 are dropped. Exact.
KERNEL(scatter_add_f32, const float *updates, const int *indices, float *out, int rows, int count,
       int inner, int thread, int threads);
KERNEL(scatter_add_i32, const int *updates, const int *indices, int *out, int rows, int count,
       int inner, int thread, int threads);

// -- kernels/sort.c ---------------------------------------------------------------------------

// Rows of x (rows, n), f32 if floating, else i32, in ascending order or in descending: the values,
// and where in its row each was. Equal numbers keep their order, -0 equals 0, and NaN is above all
// others. Exact. n is at most 65536.
KERNEL(sort, const int *x, int *values, int *indices, int rows, int n, int floating,
       int descending, int thread, int threads);
// The same for rows of any length, in passes: sort_items, then sort_count and sort_place for the
// digits 0 to 3. An item is its place in the row, and above it 32 bits that order as the numbers
// do. Each row is cut into `parts`; counts (rows, parts, 256) says how often each digit occurs.
KERNEL(sort_items, const int *x, uint64_t *items, int rows, int n, int floating, int descending,
       int thread, int threads);
KERNEL(sort_count, const uint64_t *items, int *counts, int rows, int n, int parts, int digit,
       int thread, int threads);
KERNEL(sort_place, const uint64_t *items, const int *counts, uint64_t *out, int rows, int n,
       int parts, int digit, int thread, int threads);
// The k highest of each row in descending order, as sort gives them. k is at most n and 65536.
KERNEL(top_k, const int *x, int *values, int *indices, int rows, int n, int k, int floating,
       int thread, int threads);

// -- kernels/cumulate.c -----------------------------------------------------------------------

// out[o, i, j] = the sum of x[o, 0..i, j], x (outer, n, inner); without x[o, i, j] itself if
// exclusive; from the end on if reverse. Exact.
KERNEL(cumsum_f32, const float *x, float *out, int outer, int n, int inner, int exclusive,
       int reverse, int thread, int threads);
KERNEL(cumsum_i32, const int *x, int *out, int outer, int n, int inner, int exclusive, int reverse,
       int thread, int threads);

// -- kernels/random.c -------------------------------------------------------------------------

// Philox 4x32-10 (Salmon et al., SC 2011). state = key 0, key 1, counter low, counter high. Words
// 4j..4j+3 of out are the block of counter (counter + j as 64 bits, 0, 0). Exact.
KERNEL(random_bits, const uint32_t *state, uint32_t *out, int count, int thread, int threads);
