// Shared parts of attention and its gradient: parameters, heads, and blocks of scores.
//
// A block of scores has a row for each key and a column for each query, so that a softmax reduces
// along columns, without horizontal operations. The products that follow read it as either operand.
#pragma once

#include "engine.h"
#include "exp2_log2.h"
#include "gemm_microkernel.h"
#include "gemm_pack.h"
#include "gemm_strip.h"

#define ATTENTION_VALUES batch, heads, t_q, t_k, d, d_v, causal, scale
#define MASK_VALUES mask_batch, mask_head, mask_q, mask_k

// The score of a masked key, and an upper bound of the lse of a query whose keys are all masked.
// Kernels compute scores in units of ln 2, so that their exponential is a power of two.
#define MASKED_SCORE -2.3e38f
#define FULLY_MASKED_LSE -1e37f

// Queries and keys of a block. Both have the same size, so that the diagonal of a causal matrix is
// also the diagonal of the blocks that it crosses.
enum { BLOCK = 64, PANEL = TILE_COLUMNS };

typedef struct {
  int batch, heads, t_q, t_k, d, d_v, causal;
  float scale;
  const uint8_t *mask;  // 0: no mask
  int mask_batch, mask_head, mask_q, mask_k;
} attention_t;

// One head of one batch item: the offsets of its first elements, and the strides of its rows.
typedef struct {
  const attention_t *p;
  int q_offset, k_offset, v_offset, out_offset, lse_offset;  // lse_offset: of lse and delta
  int qk_stride, v_stride;  // floats between rows of q and k, of v and out
  const uint8_t *mask;
} head_t;

INLINE head_t head_at(const attention_t *p, int index) {
  int b = index / p->heads, h = index % p->heads, width = p->heads * p->d;
  int width_v = p->heads * p->d_v;
  return (head_t){p, b * p->t_q * width + h * p->d, b * p->t_k * width + h * p->d,
                  b * p->t_k * width_v + h * p->d_v, b * p->t_q * width_v + h * p->d_v,
                  b * p->t_q * p->heads + h, width, width_v,
                  p->mask ? p->mask + b * p->mask_batch + h * p->mask_head : 0};
}

// The number of keys that are visible to the queries before `end`, apart from the mask.
INLINE int visible_keys(const attention_t *p, int end) {
  return p->causal ? min_int(p->t_k, end) : p->t_k;
}

INLINE int round_up(int n, int multiple) { return ceil_div(n, multiple) * multiple; }

static inline int is_masked(const head_t *head, int i, int j) {
  return head->mask && !head->mask[i * head->p->mask_q + j * head->p->mask_k];
}

static inline float dot_reference(const float *x, const float *y, int count) {
  float sum = 0;
  for (int i = 0; i < count; i++) sum += x[i] * y[i];
  return sum;
}

// -- blocks: scores[key * BLOCK + query] --------------------------------------------------------

// scores = rows of keys @ panels of queries, both of length `depth`. On the diagonal, skip panels
// whose queries see no key of a strip.
static inline void key_query_products(const float *rows, int stride, int keys, const float *panels,
                                      int queries, int depth, int diagonal, float *scores) {
  gemm_strip_t s = {.a_row_stride = stride, .a_column_stride = 1, .b_row_stride = PANEL,
                    .panel_stride = PANEL * depth, .k = depth, .out_row_stride = BLOCK};
  for (int j = 0; j < keys; j += TILE_ROWS) {
    int first = diagonal ? j / PANEL * PANEL : 0;
    s.a = rows + j * stride, s.b = panels + first * depth;
    s.out = scores + j * BLOCK + first, s.columns = round_up(queries, PANEL) - first;
    gemm_strip(&s, min_int(TILE_ROWS, keys - j));
  }
}

// The number of keys whose scores a panel of queries needs: on the diagonal, all keys up to the end
// of the strip of its last query.
INLINE int scored_keys(int diagonal, int keys, int query) {
  return diagonal ? min_int(keys, (query + PANEL - 1) / TILE_ROWS * TILE_ROWS + TILE_ROWS) : keys;
}

// out (+)= scores^T @ panels with one row for each key: one row of out for each query.
static inline void accumulate_query_rows(const float *scores, int queries, const float *panels,
                                         int keys, int width, int diagonal, int accumulate,
                                         float *out, int stride) {
  gemm_strip_t s = {.a_row_stride = 1, .a_column_stride = BLOCK, .b = panels, .b_row_stride = PANEL,
                    .panel_stride = PANEL * keys, .columns = width, .accumulate = accumulate,
                    .out_row_stride = stride};
  for (int i = 0; i < queries; i += TILE_ROWS) {
    s.a = scores + i, s.out = out + i * stride;
    s.k = diagonal ? min_int(keys, i + TILE_ROWS) : keys;
    gemm_strip(&s, min_int(TILE_ROWS, queries - i));
  }
}

// out (+)= scores @ panels with one row for each query: one row of out for each key.
static inline void accumulate_key_rows(const float *scores, int keys, const float *panels,
                                       int queries, int width, int diagonal, int accumulate,
                                       float *out, int stride) {
  gemm_strip_t s = {.a_row_stride = BLOCK, .a_column_stride = 1, .b_row_stride = PANEL,
                    .panel_stride = PANEL * queries, .columns = width, .accumulate = accumulate,
                    .out_row_stride = stride};
  for (int j = 0; j < keys; j += TILE_ROWS) {
    int first = diagonal ? min_int(queries, j / PANEL * PANEL) : 0;
    s.a = scores + j * BLOCK + first, s.b = panels + first * PANEL;
    s.k = queries - first, s.out = out + j * stride;
    gemm_strip(&s, min_int(TILE_ROWS, keys - j));
  }
}

// Pack rows of queries, or of their gradients, into panels, panel[x * 8 + query], times `factor`.
static inline void pack_scaled_panels(const float *source, int stride, int rows, int depth,
                                      float factor, float *panels) {
  pack_rows(source, stride, depth, rows, panels, depth, PANEL);
  f32x4 factors = wasm_f32x4_splat(factor);
  for (int i = 0; i < round_up(rows, PANEL) * depth; i += 4)
    wasm_v128_store(panels + i, wasm_f32x4_mul(wasm_v128_load(panels + i), factors));
}

// Apply the mask to the scores of a panel of queries from `query`, of which `queries` exist, for
// `keys` keys from `key`.
static inline void apply_mask(const head_t *head, int query, int queries, int key, int keys,
                              float *scores) {
  for (int j = 0; j < keys; j++)
    for (int i = 0; i < queries; i++)
      if (is_masked(head, query + i, key + j)) scores[j * BLOCK + i] = MASKED_SCORE;
}

// On the diagonal, set the scores of a panel of queries from `query` to -inf for later keys.
static inline void apply_causal_mask(int query, int keys, float *scores) {
  v128_t low = wasm_i32x4_make(0, 1, 2, 3), high = wasm_i32x4_make(4, 5, 6, 7);
  f32x4 minus_inf = wasm_f32x4_splat(-__builtin_inff());
  for (int j = query + 1; j < keys; j++) {
    float *row = scores + j * BLOCK;
    v128_t distance = wasm_i32x4_splat(j - query);
    f32x4 first = wasm_v128_load(row), last = wasm_v128_load(row + 4);
    wasm_v128_store(row, wasm_v128_bitselect(minus_inf, first, wasm_i32x4_lt(low, distance)));
    wasm_v128_store(row + 4, wasm_v128_bitselect(minus_inf, last, wasm_i32x4_lt(high, distance)));
  }
}
