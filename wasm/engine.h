// The exports of the engine: signature, semantics and tolerance of every function.
//
// build_scripts/engine.py reads the exports from the lines that begin with EXPORT or KERNEL(.
//
// Buffers are contiguous, row-major and aligned to 64 bytes; no kernel accesses memory beyond them.
// A kernel computes the partition of `thread` out of `threads`, which depends on these two values
// alone; no kernel waits for another thread. Floats are f32. Tolerances are relative to the sum of
// the absolute values of the terms, because the order of additions may differ from the reference.
#pragma once

#include <stdint.h>

#define EXPORT
// KERNEL declares a kernel, and its reference implementation with the same signature.
#define KERNEL(name, ...) \
  void name(__VA_ARGS__); \
  void name##_reference(__VA_ARGS__)

// -- thread_scratch.c: scratch memory of the threads -------------------------------------------

// The main thread calls this once. scratch_areas: threads * scratch_size() bytes, aligned to 64,
// that only the engine uses.
EXPORT void setup(int threads, uint8_t *scratch_areas);
EXPORT int scratch_size(void);
// The stack size of a worker in bytes; its host sets __stack_pointer to the end of the stack.
EXPORT int stack_size(void);
// The scratch memory of one thread, scratch_size() bytes. Loops of a program cache rows in it. Its
// contents are undefined before and after a kernel of the engine.
EXPORT uint8_t *scratch(int thread);

// -- threads.c: multi-threaded execution -------------------------------------------------------

// Run program(thread, arguments) on every thread, or only on the calling thread if arguments[1],
// the number of threads of the program, is 1. `program` is an index into __indirect_function_table.
// Returns 0 when all threads have finished, or 1 if a worker trapped.
EXPORT int run_program(int program, int *arguments);
// The main loop of a worker. Returns a command for the worker's host: 1 = load a module, 2 = quit.
EXPORT int worker_loop(int thread);
// Send a command to the hosts of all workers: 1 = load the module of b bytes at a, 2 = quit.
EXPORT void post_command(int command, int a, int b);
EXPORT int load_address(void);
EXPORT int load_size(void);
// A worker's host reports that the command succeeded (1) or failed (0). It also reports 0 when
// worker_loop trapped, before it calls worker_loop again.
EXPORT void command_done(int ok);
// Wait until every worker's host has called command_done. Returns 0 if all commands succeeded.
EXPORT int wait_command(void);
// Synchronize all threads of a program between dependent kernels.
EXPORT void barrier(void);

// -- epilogues of gemm and convolution ---------------------------------------------------------

// A function of the program that computes further on a rectangle of a kernel's result matrix:
// `rows` rows from `row`, `columns` columns from `column`. The parameter is an index into
// __indirect_function_table, where entry 1 is reserved for it; 0 means no epilogue. The kernel
// calls it when the sums of the rectangle are final, on the thread that computed them: once for
// each element, and never for an empty rectangle.
typedef void (*epilogue_t)(int *arguments, int row, int rows, int column, int columns);

// -- kernels/gemm.c ---------------------------------------------------------------------------

// out[i] = op(a[i]) @ op(b[i]) for i < batch, where out[i] is (m, n). a[i] is (m, k), or (k, m) if
// transpose_a; b[i] is (k, n), or (n, k) if transpose_b. stride_a and stride_b are the distances
// between batch items in floats; 0 uses the same matrix for all items. The epilogue's result matrix
// is (batch * m, n). Tolerance 1e-5.
KERNEL(gemm, const float *a, const float *b, float *out, int batch, int m, int n, int k,
       int transpose_a, int transpose_b, int stride_a, int stride_b, epilogue_t epilogue,
       int *arguments, int thread, int threads);

// -- kernels/conv.c ---------------------------------------------------------------------------

#define CONV_PARAMS \
  int n, int h, int wd, int c, int kh, int kw, int co, int oh, int ow, int sh, int sw, int dh, \
      int dw, int pt, int pl, int groups, epilogue_t epilogue, int *arguments, int thread, \
      int threads

// Input x (n, h, wd, c), filter w (kh, kw, c / groups, co), out (n, oh, ow, co), strides (sh, sw),
// dilations (dh, dw), padding (pt, pl) at the top and left. Tap (i, j) of output (y, x) reads input
// (y * sh + i * dh - pt, x * sw + j * dw - pl); the input is zero outside of x.
// The epilogue's result matrix has one row for each pixel of the result, or for each tap and
// channel of dw_. 3 x 3 filters may use differences of inputs: infinities may become NaN.
// Tolerance 1e-5.
KERNEL(conv2d, const float *x, const float *w, float *out, CONV_PARAMS);
// dx = gradient of x, given the gradient g (n, oh, ow, co) of out. Tolerance 1e-5.
KERNEL(conv2d_input_grad, const float *g, const float *w, float *dx, CONV_PARAMS);
// dw_ = gradient of w. Tolerance 1e-5.
KERNEL(conv2d_filter_grad, const float *x, const float *g, float *dw_, CONV_PARAMS);

// -- kernels/pool.c ---------------------------------------------------------------------------

#define POOL_PARAMS \
  int n, int h, int w, int c, int oh, int ow, int kh, int kw, int sh, int sw, int pt, int pl, \
      int thread, int threads

// Windows of (kh, kw) pixels with strides (sh, sw) over x (n, h, w, c); the first window begins at
// (-pt, -pl). A window contains only the pixels inside of x. The results are (n, oh, ow, c).
// Maximum: NaN if a pixel is NaN; -inf for an empty window. The argmax is the first NaN, else the
// first of equal maxima in row-major order.
KERNEL(max_pool, const float *x, float *out, POOL_PARAMS);
// out = y (n, h, w, c) at the argmax of each window of x; 0 for an empty window.
KERNEL(max_pool_select, const float *y, const float *x, float *out, POOL_PARAMS);
// dx = 0, then dx[argmax of the window of x] += g (n, oh, ow, c), window by window.
KERNEL(max_pool_scatter, const float *g, const float *x, float *dx, POOL_PARAMS);
// The mean of the pixels inside of x; 0 for an empty window. Tolerance 1e-6.
KERNEL(avg_pool, const float *x, float *out, POOL_PARAMS);
KERNEL(avg_pool_grad, const float *g, float *dx, POOL_PARAMS);

// -- kernels/attention.c ----------------------------------------------------------------------

#define ATTENTION_PARAMS \
  int batch, int heads, int t_q, int t_k, int d, int d_v, int causal, float scale
#define MASK_STRIDES int mask_batch, int mask_head, int mask_q, int mask_k

// Softmax attention that never stores the whole matrix of scores, scale * q . k. q (batch, t_q,
// heads, d), k (batch, t_k, heads, d), v (batch, t_k, heads, d_v), out (batch, t_q, heads, d_v);
// lse (batch, t_q, heads) = log-sum-exp of the scores. If causal, query i attends to keys j <= i.
// A mask byte of 0 masks a key; the strides of the mask are in bytes, and 0 along an axis that it
// broadcasts. A query whose keys are all masked attends equally to all of them; its lse is < -1e37.
// Tolerance 1e-5 (1 + scale * max sum of |q k|).
KERNEL(attention, const float *q, const float *k, const float *v, float *out, float *lse,
       ATTENTION_PARAMS, int thread, int threads);
KERNEL(attention_masked, const float *q, const float *k, const float *v, const uint8_t *mask,
       float *out, float *lse, ATTENTION_PARAMS, MASK_STRIDES, int thread, int threads);
// dq, dk, dv = gradients of q, k, v, given the gradient g of out. delta (batch, t_q, heads) = the
// sum of g * out over d_v, minus the gradient of lse. The gradient of a masked score is 0.
// Tolerance as above.
KERNEL(attention_grad, const float *q, const float *k, const float *v, const float *g,
       const float *lse, const float *delta, float *dq, float *dk, float *dv, ATTENTION_PARAMS,
       int thread, int threads);
KERNEL(attention_grad_masked, const float *q, const float *k, const float *v, const float *g,
       const float *lse, const float *delta, const uint8_t *mask, float *dq, float *dk, float *dv,
       ATTENTION_PARAMS, MASK_STRIDES, int thread, int threads);

// -- kernels/gather_scatter.c -----------------------------------------------------------------

// out[o, i, :] = x[o, indices[i], :], where x is (outer, rows, inner_bytes); zero bytes if the
// index is out of range. Exact.
KERNEL(gather, const uint8_t *x, const int *indices, uint8_t *out, int outer, int rows, int count,
       int inner_bytes, int thread, int threads);
// out (rows, inner) = 0, then out[indices[i], :] += updates[i, :] in order of i; updates whose
// index is out of range are dropped. Exact.
KERNEL(scatter_add_f32, const float *updates, const int *indices, float *out, int rows, int count,
       int inner, int thread, int threads);
KERNEL(scatter_add_i32, const int *updates, const int *indices, int *out, int rows, int count,
       int inner, int thread, int threads);

// -- kernels/sort.c ---------------------------------------------------------------------------

// Stable sort of the rows of x (rows, n), f32 if floating, else i32: the sorted values, and their
// indices in the row. -0 equals 0, and NaN is greater than all other values. Exact. n <= 65536.
KERNEL(sort, const int *x, int *values, int *indices, int rows, int n, int floating,
       int descending, int thread, int threads);
// Radix sort for rows of any length: radix_keys, then radix_histogram and radix_scatter for each
// of the digits 0 to 3. An item is 64 bits: a sort key in the upper half, whose unsigned order is
// the order of the values, and the index in the row in the lower half. Each row is divided into
// `chunks`; counts (rows, chunks, 256) is the number of occurrences of each digit.
KERNEL(radix_keys, const int *x, uint64_t *items, int rows, int n, int floating, int descending,
       int thread, int threads);
KERNEL(radix_histogram, const uint64_t *items, int *counts, int rows, int n, int chunks, int digit,
       int thread, int threads);
KERNEL(radix_scatter, const uint64_t *items, const int *counts, uint64_t *out, int rows, int n,
       int chunks, int digit, int thread, int threads);
// The k greatest values of each row in descending order, ordered as by sort. k <= min(n, 65536).
KERNEL(top_k, const int *x, int *values, int *indices, int rows, int n, int k, int floating,
       int thread, int threads);

// -- kernels/cumsum.c -------------------------------------------------------------------------

// Cumulative sum: out[o, i, j] = sum of x[o, 0..i, j], where x is (outer, n, inner). If exclusive,
// without x[o, i, j]; if reverse, from the last i to the first. Exact.
KERNEL(cumsum_f32, const float *x, float *out, int outer, int n, int inner, int exclusive,
       int reverse, int thread, int threads);
KERNEL(cumsum_i32, const int *x, int *out, int outer, int n, int inner, int exclusive, int reverse,
       int thread, int threads);

// -- kernels/random.c -------------------------------------------------------------------------

// Philox 4x32-10 (Salmon et al., SC 2011). state = key 0, key 1, counter low, counter high. Words
// 4j..4j+3 of out are the block of counter (counter + j as 64 bits, 0, 0). Exact.
KERNEL(random_bits, const uint32_t *state, uint32_t *out, int count, int thread, int threads);
