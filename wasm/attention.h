// What attention and its gradient share: the numbers, the items, and tiles of scores.
//
// Scores have a row for each key, with queries side by side, so that a softmax goes down the
// columns and no vector is ever folded. Tiles read either side of a further product from them.
#pragma once

#include "engine.h"
#include "exponential.h"
#include "pack.h"
#include "strip.h"
#include "tile.h"

#define ATTENTION_VALUES batch, heads, t_q, t_k, d, d_v, causal, scale
#define MASK_VALUES mask_batch, mask_head, mask_q, mask_k

// What a hidden score is, and what an lse lies below when all scores are hidden. A score is in
// units of log 2 within the kernels, so that its exponential is a power of two.
#define HIDDEN -2.3e38f
#define ALL_HIDDEN -1e37f

// Queries, and keys, of a block. One with the diagonal of a causal matrix has as many of both.
enum { BLOCK = 64, PANEL = TILE_COLUMNS };

typedef struct {
  int batch, heads, t_q, t_k, d, d_v, causal;
  float scale;
  const uint8_t *mask;  // 0: nothing is hidden
  int mask_batch, mask_head, mask_q, mask_k;
} attention_t;

// One head of one batch item: where its rows begin, and the steps from row to row.
typedef struct {
  const attention_t *p;
  int of_q, of_k, of_v, of_out, of_row;  // offsets of its first element; of_row: in lse and delta
  int step, step_v;                      // floats between rows of q and k, of v and out
  const uint8_t *mask;
} item_t;

INLINE item_t item_of(const attention_t *p, int index) {
  int b = index / p->heads, h = index % p->heads, width = p->heads * p->d;
  int width_v = p->heads * p->d_v;
  return (item_t){p, b * p->t_q * width + h * p->d, b * p->t_k * width + h * p->d,
                  b * p->t_k * width_v + h * p->d_v, b * p->t_q * width_v + h * p->d_v,
                  b * p->t_q * p->heads + h, width, width_v,
                  p->mask ? p->mask + b * p->mask_batch + h * p->mask_head : 0};
}

// How many keys the queries before `end` can see.
INLINE int keys_seen(const attention_t *p, int end) {
  return p->causal ? smaller(p->t_k, end) : p->t_k;
}

INLINE int whole(int n, int unit) { return ceiling(n, unit) * unit; }

// -- for the plain references -------------------------------------------------------------------

static inline int hidden_plain(const item_t *t, int i, int j) {
  return t->mask && !t->mask[i * t->p->mask_q + j * t->p->mask_k];
}

static inline float dot_plain(const float *x, const float *y, int count) {
  float sum = 0;
  for (int i = 0; i < count; i++) sum += x[i] * y[i];
  return sum;
}

// -- blocks: scores[key * BLOCK + query] --------------------------------------------------------

// Products of `keys` rows with panels of queries, which are `depth` long. On the diagonal, panels
// whose queries see none of a strip's keys are left out.
static inline void score(const float *rows, int step, int keys, const float *panels, int queries,
                         int depth, int diagonal, float *scores) {
  strip_t s = {.a_row = step, .a_column = 1, .b_row = PANEL, .panel = PANEL * depth, .k = depth,
               .out_row = BLOCK};
  for (int j = 0; j < keys; j += TILE_ROWS) {
    int first = diagonal ? j / PANEL * PANEL : 0;
    s.a = rows + j * step, s.b = panels + first * depth;
    s.out = scores + j * BLOCK + first, s.columns = whole(queries, PANEL) - first;
    multiply_strip(&s, smaller(TILE_ROWS, keys - j));
  }
}

// How many keys a panel of queries must have a score for: as many as a strip of theirs may meet.
INLINE int keys_scored(int diagonal, int keys, int query) {
  return diagonal ? smaller(keys, (query + PANEL - 1) / TILE_ROWS * TILE_ROWS + TILE_ROWS) : keys;
}

// out (+)= scores^T @ panels of keys, which are `keys` long: a row for each query.
static inline void add_to_queries(const float *scores, int queries, const float *panels, int keys,
                                  int width, int diagonal, int add, float *out, int step) {
  strip_t s = {.a_row = 1, .a_column = BLOCK, .b = panels, .b_row = PANEL,
               .panel = PANEL * keys, .columns = width, .add = add, .out_row = step};
  for (int i = 0; i < queries; i += TILE_ROWS) {
    s.a = scores + i, s.out = out + i * step;
    s.k = diagonal ? smaller(keys, i + TILE_ROWS) : keys;
    multiply_strip(&s, smaller(TILE_ROWS, queries - i));
  }
}

// out (+)= scores @ panels of queries, which are `queries` long: a row for each key.
static inline void add_to_keys(const float *scores, int keys, const float *panels, int queries,
                               int width, int diagonal, int add, float *out, int step) {
  strip_t s = {.a_row = BLOCK, .a_column = 1, .b_row = PANEL, .panel = PANEL * queries,
               .columns = width, .add = add, .out_row = step};
  for (int j = 0; j < keys; j += TILE_ROWS) {
    int first = diagonal ? smaller(queries, j / PANEL * PANEL) : 0;
    s.a = scores + j * BLOCK + first, s.b = panels + first * PANEL;
    s.k = queries - first, s.out = out + j * step;
    multiply_strip(&s, smaller(TILE_ROWS, keys - j));
  }
}

// Queries, or their gradients, as panels of eight, panel[x * 8 + query], times `factor`.
static inline void pack_panels(const float *from, int step, int rows, int depth, float factor,
                               float *to) {
  pack_rows(from, step, depth, rows, to, depth, PANEL);
  f32x4 times = wasm_f32x4_splat(factor);
  for (int i = 0; i < whole(rows, PANEL) * depth; i += 4)
    wasm_v128_store(to + i, wasm_f32x4_mul(wasm_v128_load(to + i), times));
}

// Hide what the mask hides in the scores of eight queries from `query` on, of which `queries` are
// real, for the `keys` keys from `key` on.
static inline void hide(const item_t *t, int query, int queries, int key, int keys, float *scores) {
  for (int j = 0; j < keys; j++)
    for (int i = 0; i < queries; i++)
      if (hidden_plain(t, query + i, key + j)) scores[j * BLOCK + i] = HIDDEN;
}

// On the diagonal, hide later keys from the eight queries from `query` on.
static inline void hide_future(int query, int keys, float *scores) {
  v128_t low = wasm_i32x4_make(0, 1, 2, 3), high = wasm_i32x4_make(4, 5, 6, 7);
  f32x4 never = wasm_f32x4_splat(-__builtin_inff());
  for (int j = query + 1; j < keys; j++) {
    float *at = scores + j * BLOCK;
    v128_t ahead = wasm_i32x4_splat(j - query);
    f32x4 first = wasm_v128_load(at), last = wasm_v128_load(at + 4);
    wasm_v128_store(at, wasm_v128_bitselect(never, first, wasm_i32x4_lt(low, ahead)));
    wasm_v128_store(at + 4, wasm_v128_bitselect(never, last, wasm_i32x4_lt(high, ahead)));
  }
}
