// The gradient of attention by blocks. Probabilities are recomputed from the scores and lse.

#include "attention.h"

typedef struct {
  const float *q, *k, *v, *g, *lse, *delta;
  float *dq, *dk, *dv;
} tensors_t;

static float probability_reference(const head_t *head, const tensors_t *x, int i, int j) {
  const attention_t *p = head->p;
  float lse = x->lse[head->lse_offset + i * p->heads];
  if (p->causal && j > i) return 0;
  if (head->mask && lse < FULLY_MASKED_LSE) return 1.0 / visible_keys(p, i + 1);
  if (is_masked(head, i, j)) return 0;
  const float *q = x->q + head->q_offset + i * head->qk_stride;
  const float *k = x->k + head->k_offset + j * head->qk_stride;
  return exp_reference(p->scale * dot_reference(q, k, p->d) - lse);
}

// Add the contribution of query i and key j to dq, or, unless `to_query`, to dk and dv.
static void accumulate_pair_reference(const head_t *head, const tensors_t *x, int i, int j,
                                      int to_query) {
  const attention_t *p = head->p;
  int query = head->q_offset + i * head->qk_stride, key = head->k_offset + j * head->qk_stride;
  int row = head->lse_offset + i * p->heads;
  const float *g = x->g + head->out_offset + i * head->v_stride;
  const float *v = x->v + head->v_offset + j * head->v_stride;
  float probability = probability_reference(head, x, i, j);
  float score_grad = probability * (dot_reference(g, v, p->d_v) - x->delta[row]) * p->scale;
  if (is_masked(head, i, j)) score_grad = 0;
  for (int c = 0; c < p->d; c++)
    if (to_query)
      x->dq[query + c] += score_grad * x->k[key + c];
    else
      x->dk[key + c] += score_grad * x->q[query + c];
  for (int c = 0; !to_query && c < p->d_v; c++) x->dv[v - x->v + c] += probability * g[c];
}

static void gradients_by_pairs(const attention_t *p, const tensors_t *x, int thread, int threads) {
  int64_t heads = (int64_t)p->batch * p->heads;
  int end = partition_begin(heads, thread + 1, threads);
  for (int index = partition_begin(heads, thread, threads); index < end; index++) {
    head_t head = head_at(p, index);
    for (int i = 0; i < p->t_q; i++) {
      fill_zero(x->dq + head.q_offset + i * head.qk_stride, p->d);
      for (int j = 0; j < p->t_k; j++) accumulate_pair_reference(&head, x, i, j, 1);
    }
    for (int j = 0; j < p->t_k; j++) {
      fill_zero(x->dk + head.k_offset + j * head.qk_stride, p->d);
      fill_zero(x->dv + head.v_offset + j * head.v_stride, p->d_v);
      for (int i = 0; i < p->t_q; i++) accumulate_pair_reference(&head, x, i, j, 0);
    }
  }
}

void attention_grad_reference(const float *q, const float *k, const float *v, const float *g,
                              const float *lse, const float *delta, float *dq, float *dk,
                              float *dv, ATTENTION_PARAMS, int thread, int threads) {
  attention_t p = {ATTENTION_VALUES, 0, 0, 0, 0, 0};
  tensors_t x = {q, k, v, g, lse, delta, dq, dk, dv};
  gradients_by_pairs(&p, &x, thread, threads);
}

void attention_grad_masked_reference(const float *q, const float *k, const float *v,
                                     const float *g, const float *lse, const float *delta,
                                     const uint8_t *mask, float *dq, float *dk, float *dv,
                                     ATTENTION_PARAMS, MASK_STRIDES, int thread, int threads) {
  attention_t p = {ATTENTION_VALUES, mask, MASK_VALUES};
  tensors_t x = {q, k, v, g, lse, delta, dq, dk, dv};
  gradients_by_pairs(&p, &x, thread, threads);
}

// -- blocks of queries and keys -----------------------------------------------------------------

// A thread's scratch for one block.
typedef struct {
  float *scaled_q, *scaled_g;                // panels of rows of q and g, scaled
  float *q_columns, *g_columns, *k_columns;  // panels of columns of q, g and k
  float *probabilities, *score_grads;
  float *lse, *delta;                        // of each query, scaled
} grad_scratch_t;

static grad_scratch_t grad_scratch(const attention_t *p, int thread) {
  int width = round_up(p->d, PANEL), width_v = round_up(p->d_v, PANEL);
  grad_scratch_t s = {.scaled_q = (float *)scratch(thread)};
  s.scaled_g = s.scaled_q + BLOCK * width;
  s.q_columns = s.scaled_g + BLOCK * width_v;
  s.g_columns = s.q_columns + BLOCK * width;
  s.k_columns = s.g_columns + BLOCK * width_v;
  s.probabilities = s.k_columns + BLOCK * width;
  s.score_grads = s.probabilities + BLOCK * BLOCK;
  s.lse = s.score_grads + BLOCK * BLOCK;
  s.delta = s.lse + BLOCK;
  return s;
}

static int block_fits(const attention_t *p) {
  int64_t width = round_up(p->d, PANEL), width_v = round_up(p->d_v, PANEL);
  return (3 * width + 2 * width_v + 2 * BLOCK + 2) * BLOCK * 4 <= SCRATCH_BYTES;
}

static void load_queries(const head_t *head, const grad_scratch_t *s, const tensors_t *x,
                         int query, int queries) {
  const attention_t *p = head->p;
  const float *q = x->q + head->q_offset + query * head->qk_stride;
  const float *g = x->g + head->out_offset + query * head->v_stride;
  int row = head->lse_offset + query * p->heads;
  pack_scaled_panels(q, head->qk_stride, queries, p->d, p->scale * LOG2_E, s->scaled_q);
  pack_scaled_panels(g, head->v_stride, queries, p->d_v, p->scale, s->scaled_g);
  pack_columns(q, head->qk_stride, queries, p->d, s->q_columns, queries, PANEL);
  pack_columns(g, head->v_stride, queries, p->d_v, s->g_columns, queries, PANEL);
  for (int i = 0; i < BLOCK; i++) {
    int exists = i < queries;
    s->lse[i] = exists ? x->lse[row + i * p->heads] * LOG2_E : 0;
    s->delta[i] = exists ? x->delta[row + i * p->heads] * p->scale : 0;
  }
}

// Replace scores by probabilities, and gradients of probabilities by gradients of scores, for four
// queries.
static void softmax_grad(float *probabilities, float *score_grads, int keys, const float *lse,
                         const float *delta) {
  f32x4 lse_4 = wasm_v128_load(lse), delta_4 = wasm_v128_load(delta);
  NOT_UNROLLED for (int j = 0; j < keys; j++) {
    float *probability = probabilities + j * BLOCK, *score_grad = score_grads + j * BLOCK;
    f32x4 e = exp2_f32x4(wasm_f32x4_sub(wasm_v128_load(probability), lse_4));
    wasm_v128_store(probability, e);
    wasm_v128_store(score_grad,
                    wasm_f32x4_mul(e, wasm_f32x4_sub(wasm_v128_load(score_grad), delta_4)));
  }
}

// A query whose keys are all masked attends to all of them equally.
static void uniform_row(const head_t *head, const grad_scratch_t *s, int query, int key, int keys,
                        int i) {
  if (s->lse[i] >= FULLY_MASKED_LSE) return;
  int visible = visible_keys(head->p, query + i + 1);
  for (int j = 0; j < keys; j++) {
    s->probabilities[j * BLOCK + i] = key + j < visible ? 1.0f / visible : 0;
    s->score_grads[j * BLOCK + i] = 0;
  }
}

// Compute the probabilities, and the gradients of the scores, of a block.
static void score_grads(const head_t *head, const grad_scratch_t *s, const tensors_t *x, int query,
                        int queries, int key, int keys, int diagonal) {
  const attention_t *p = head->p;
  const float *k = x->k + head->k_offset + key * head->qk_stride;
  const float *v = x->v + head->v_offset + key * head->v_stride;
  key_query_products(k, head->qk_stride, keys, s->scaled_q, queries, p->d, diagonal,
                     s->probabilities);
  key_query_products(v, head->v_stride, keys, s->scaled_g, queries, p->d_v, diagonal,
                     s->score_grads);
  for (int i = 0; i < queries; i += PANEL) {
    int scored = scored_keys(diagonal, keys, i), panel_queries = min_int(PANEL, queries - i);
    if (head->mask)
      apply_mask(head, query + i, panel_queries, key, scored, s->probabilities + i);
    if (diagonal) apply_causal_mask(i, scored, s->probabilities + i);
    for (int n = i; n < i + PANEL; n += 4)
      softmax_grad(s->probabilities + n, s->score_grads + n, scored, s->lse + n, s->delta + n);
    for (int n = i; head->mask && n < i + panel_queries; n++)
      uniform_row(head, s, query, key, scored, n);
  }
}

static void zero_rows(float *rows, int stride, int count, int width) {
  for (int i = 0; i < count; i++) fill_zero(rows + i * stride, width);
}

// Add the contribution of a block of queries and a block of keys to dq, if `to_queries`, and to dk
// and dv, if `to_keys`.
static void accumulate_block(const head_t *head, const grad_scratch_t *s, const tensors_t *x,
                             int query, int key, int keys, int to_queries, int to_keys) {
  const attention_t *p = head->p;
  int queries = min_int(BLOCK, p->t_q - query), diagonal = p->causal && key == query;
  int accumulate_keys = query > (p->causal ? key : 0);
  int k_offset = head->k_offset + key * head->qk_stride;
  load_queries(head, s, x, query, queries);
  score_grads(head, s, x, query, queries, key, keys, diagonal);
  if (to_queries)
    accumulate_query_rows(s->score_grads, queries, s->k_columns, keys, p->d, diagonal, key > 0,
                          x->dq + head->q_offset + query * head->qk_stride, head->qk_stride);
  if (!to_keys) return;
  accumulate_key_rows(s->score_grads, keys, s->q_columns, queries, p->d, diagonal, accumulate_keys,
                      x->dk + k_offset, head->qk_stride);
  accumulate_key_rows(s->probabilities, keys, s->g_columns, queries, p->d_v, diagonal,
                      accumulate_keys, x->dv + head->v_offset + key * head->v_stride,
                      head->v_stride);
}

static void load_keys(const head_t *head, const grad_scratch_t *s, const tensors_t *x, int key,
                      int keys) {
  pack_columns(x->k + head->k_offset + key * head->qk_stride, head->qk_stride, keys, head->p->d,
               s->k_columns, keys, PANEL);
}

// The gradients dk and dv of a block of keys; with `to_queries`, also its contributions to dq.
static void key_gradients(const head_t *head, const grad_scratch_t *s, const tensors_t *x, int key,
                          int to_queries) {
  const attention_t *p = head->p;
  int keys = min_int(BLOCK, p->t_k - key), first = p->causal ? key : 0;
  if (first >= p->t_q) {
    zero_rows(x->dk + head->k_offset + key * head->qk_stride, head->qk_stride, keys, p->d);
    zero_rows(x->dv + head->v_offset + key * head->v_stride, head->v_stride, keys, p->d_v);
    return;
  }
  load_keys(head, s, x, key, keys);
  for (int query = first; query < p->t_q; query += BLOCK)
    accumulate_block(head, s, x, query, key, keys, to_queries, 1);
}

// The gradient dq of a block of queries.
static void query_gradient(const head_t *head, const grad_scratch_t *s, const tensors_t *x,
                           int query) {
  int end = visible_keys(head->p, min_int(head->p->t_q, query + BLOCK));
  for (int key = 0; key < end; key += BLOCK) {
    int keys = min_int(BLOCK, end - key);
    load_keys(head, s, x, key, keys);
    accumulate_block(head, s, x, query, key, keys, 1, 0);
  }
}

static void head_gradients(const attention_t *p, const grad_scratch_t *s, const tensors_t *x,
                           int index) {
  head_t head = head_at(p, index);
  if (!p->t_k) zero_rows(x->dq + head.q_offset, head.qk_stride, p->t_q, p->d);
  for (int key = 0; key < p->t_k; key += BLOCK) key_gradients(&head, s, x, key, 1);
}

// Threads compute whole heads. If there are fewer heads than threads, they compute blocks: dq of
// queries, or dk and dv of keys. The probabilities are then computed twice, with seven products
// instead of five, but no thread waits for another.
static void gradients_by_blocks(const attention_t *p, const tensors_t *x, int thread,
                                int threads) {
  if (!block_fits(p)) {
    gradients_by_pairs(p, x, thread, threads);
    return;
  }
  grad_scratch_t s = grad_scratch(p, thread);
  int heads = p->batch * p->heads, query_blocks = ceil_div(p->t_q, BLOCK);
  int blocks = query_blocks + ceil_div(p->t_k, BLOCK);
  if (heads >= threads || !p->t_k) {
    for (int index = thread; index < heads; index += threads) head_gradients(p, &s, x, index);
    return;
  }
  for (int unit = thread; unit < heads * blocks; unit += threads) {
    head_t head = head_at(p, unit / blocks);
    int block = unit % blocks;
    if (block < query_blocks)
      query_gradient(&head, &s, x, block * BLOCK);
    else
      key_gradients(&head, &s, x, (block - query_blocks) * BLOCK, 0);
  }
}

void attention_grad(const float *q, const float *k, const float *v, const float *g,
                    const float *lse, const float *delta, float *dq, float *dk, float *dv,
                    ATTENTION_PARAMS, int thread, int threads) {
  attention_t p = {ATTENTION_VALUES, 0, 0, 0, 0, 0};
  tensors_t x = {q, k, v, g, lse, delta, dq, dk, dv};
  gradients_by_blocks(&p, &x, thread, threads);
}

void attention_grad_masked(const float *q, const float *k, const float *v, const float *g,
                           const float *lse, const float *delta, const uint8_t *mask, float *dq,
                           float *dk, float *dv, ATTENTION_PARAMS, MASK_STRIDES, int thread,
                           int threads) {
  attention_t p = {ATTENTION_VALUES, mask, MASK_VALUES};
  tensors_t x = {q, k, v, g, lse, delta, dq, dk, dv};
  gradients_by_blocks(&p, &x, thread, threads);
}
