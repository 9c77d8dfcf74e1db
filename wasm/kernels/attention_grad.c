// The gradient of attention by blocks. Probabilities are made again from the scores and lse.

#include "attention.h"

// What the gradients are made of, for one query i and one key j.
typedef struct {
  const float *q, *k, *v, *g, *lse, *delta;
  float *dq, *dk, *dv;
} gradients_t;

static float probability_plain(const item_t *t, const gradients_t *x, int i, int j) {
  const attention_t *p = t->p;
  float lse = x->lse[t->of_row + i * p->heads];
  if (p->causal && j > i) return 0;
  if (t->mask && lse < ALL_HIDDEN) return 1.0 / keys_seen(p, i + 1);
  if (hidden_plain(t, i, j)) return 0;
  const float *q = x->q + t->of_q + i * t->step, *k = x->k + t->of_k + j * t->step;
  return exp_plain(p->scale * dot_plain(q, k, p->d) - lse);
}

static void pair_plain(const item_t *t, const gradients_t *x, int i, int j, int of_query) {
  const attention_t *p = t->p;
  int query = t->of_q + i * t->step, key = t->of_k + j * t->step, row = t->of_row + i * p->heads;
  const float *g = x->g + t->of_out + i * t->step_v, *v = x->v + t->of_v + j * t->step_v;
  float weight = probability_plain(t, x, i, j);
  float slope = weight * (dot_plain(g, v, p->d_v) - x->delta[row]) * p->scale;
  if (hidden_plain(t, i, j)) slope = 0;
  for (int c = 0; c < p->d; c++)
    if (of_query)
      x->dq[query + c] += slope * x->k[key + c];
    else
      x->dk[key + c] += slope * x->q[query + c];
  for (int c = 0; !of_query && c < p->d_v; c++) x->dv[v - x->v + c] += weight * g[c];
}

static void gradients_plain(const attention_t *p, const gradients_t *x, int thread, int threads) {
  int64_t items = (int64_t)p->batch * p->heads;
  int end = share(items, thread + 1, threads);
  for (int item = share(items, thread, threads); item < end; item++) {
    item_t t = item_of(p, item);
    for (int i = 0; i < p->t_q; i++) {
      fill_zero(x->dq + t.of_q + i * t.step, p->d);
      for (int j = 0; j < p->t_k; j++) pair_plain(&t, x, i, j, 1);
    }
    for (int j = 0; j < p->t_k; j++) {
      fill_zero(x->dk + t.of_k + j * t.step, p->d);
      fill_zero(x->dv + t.of_v + j * t.step_v, p->d_v);
      for (int i = 0; i < p->t_q; i++) pair_plain(&t, x, i, j, 0);
    }
  }
}

void attention_grad_ref(const float *q, const float *k, const float *v, const float *g,
                        const float *lse, const float *delta, float *dq, float *dk, float *dv,
                        ATTENTION_NUMBERS, int thread, int threads) {
  attention_t p = {ATTENTION_VALUES, 0, 0, 0, 0, 0};
  gradients_t x = {q, k, v, g, lse, delta, dq, dk, dv};
  gradients_plain(&p, &x, thread, threads);
}

void attention_grad_masked_ref(const float *q, const float *k, const float *v, const float *g,
                               const float *lse, const float *delta, const uint8_t *mask,
                               float *dq, float *dk, float *dv, ATTENTION_NUMBERS, MASK_STRIDES,
                               int thread, int threads) {
  attention_t p = {ATTENTION_VALUES, mask, MASK_VALUES};
  gradients_t x = {q, k, v, g, lse, delta, dq, dk, dv};
  gradients_plain(&p, &x, thread, threads);
}

// -- the fast form ------------------------------------------------------------------------------

// A thread's scratch for one block.
typedef struct {
  float *queries, *gradients;                  // panels of q and g, scaled
  float *of_queries, *of_gradients, *of_keys;  // panels of columns of q, g and k
  float *weights, *slopes;                     // probabilities, and the gradients of scores
  float *lse, *delta;                          // of each query, scaled
} work_t;

static work_t work_of(const attention_t *p, int thread) {
  int width = whole(p->d, PANEL), width_v = whole(p->d_v, PANEL);
  work_t w = {.queries = (float *)scratch(thread)};
  w.gradients = w.queries + BLOCK * width;
  w.of_queries = w.gradients + BLOCK * width_v;
  w.of_gradients = w.of_queries + BLOCK * width;
  w.of_keys = w.of_gradients + BLOCK * width_v;
  w.weights = w.of_keys + BLOCK * width;
  w.slopes = w.weights + BLOCK * BLOCK;
  w.lse = w.slopes + BLOCK * BLOCK;
  w.delta = w.lse + BLOCK;
  return w;
}

static int fits(const attention_t *p) {
  int64_t width = whole(p->d, PANEL), width_v = whole(p->d_v, PANEL);
  return (3 * width + 2 * width_v + 2 * BLOCK + 2) * BLOCK * 4 <= SCRATCH_BYTES;
}

static void load_queries(const item_t *t, const work_t *w, const gradients_t *x, int query,
                         int queries) {
  const attention_t *p = t->p;
  const float *q = x->q + t->of_q + query * t->step, *g = x->g + t->of_out + query * t->step_v;
  int row = t->of_row + query * p->heads;
  pack_panels(q, t->step, queries, p->d, p->scale * LOG2_E, w->queries);
  pack_panels(g, t->step_v, queries, p->d_v, p->scale, w->gradients);
  pack_columns(q, t->step, queries, p->d, w->of_queries, queries, PANEL);
  pack_columns(g, t->step_v, queries, p->d_v, w->of_gradients, queries, PANEL);
  for (int i = 0; i < BLOCK; i++) {
    int real = i < queries;
    w->lse[i] = real ? x->lse[row + i * p->heads] * LOG2_E : 0;
    w->delta[i] = real ? x->delta[row + i * p->heads] * p->scale : 0;
  }
}

// Scores become probabilities, and the gradients of probabilities those of scores.
static void soften(float *weights, float *slopes, int keys, const float *lse, const float *delta) {
  f32x4 base = wasm_v128_load(lse), mean = wasm_v128_load(delta);
  NOT_UNROLLED for (int j = 0; j < keys; j++) {
    float *weight = weights + j * BLOCK, *slope = slopes + j * BLOCK;
    f32x4 e = power_of_two(wasm_f32x4_sub(wasm_v128_load(weight), base));
    wasm_v128_store(weight, e);
    wasm_v128_store(slope, wasm_f32x4_mul(e, wasm_f32x4_sub(wasm_v128_load(slope), mean)));
  }
}

// A query from which the mask hides all keys takes all alike.
static void level(const item_t *t, const work_t *w, int query, int key, int keys, int i) {
  if (w->lse[i] >= ALL_HIDDEN) return;
  int all = keys_seen(t->p, query + i + 1);
  for (int j = 0; j < keys; j++) {
    w->weights[j * BLOCK + i] = key + j < all ? 1.0f / all : 0;
    w->slopes[j * BLOCK + i] = 0;
  }
}

// The probabilities and the gradients of the scores of a block.
static void weigh(const item_t *t, const work_t *w, const gradients_t *x, int query, int queries,
                  int key, int keys, int diagonal) {
  const attention_t *p = t->p;
  const float *k = x->k + t->of_k + key * t->step, *v = x->v + t->of_v + key * t->step_v;
  score(k, t->step, keys, w->queries, queries, p->d, diagonal, w->weights);
  score(v, t->step_v, keys, w->gradients, queries, p->d_v, diagonal, w->slopes);
  for (int i = 0; i < queries; i += PANEL) {
    int scored = keys_scored(diagonal, keys, i), real = smaller(PANEL, queries - i);
    if (t->mask) hide(t, query + i, real, key, scored, w->weights + i);
    if (diagonal) hide_future(i, scored, w->weights + i);
    for (int n = i; n < i + PANEL; n += 4)
      soften(w->weights + n, w->slopes + n, scored, w->lse + n, w->delta + n);
    for (int n = i; t->mask && n < i + real; n++) level(t, w, query, key, scored, n);
  }
}

static void fill_rows(float *rows, int step, int count, int width) {
  for (int i = 0; i < count; i++) fill_zero(rows + i * step, width);
}

// What a block of queries and one of keys give to the gradients of either, as asked for.
static void add_block(const item_t *t, const work_t *w, const gradients_t *x, int query, int key,
                      int keys, int to_queries, int to_keys) {
  const attention_t *p = t->p;
  int queries = smaller(BLOCK, p->t_q - query), diagonal = p->causal && key == query;
  int later = query > (p->causal ? key : 0), of_k = t->of_k + key * t->step;
  load_queries(t, w, x, query, queries);
  weigh(t, w, x, query, queries, key, keys, diagonal);
  if (to_queries)
    add_to_queries(w->slopes, queries, w->of_keys, keys, p->d, diagonal, key > 0,
                   x->dq + t->of_q + query * t->step, t->step);
  if (!to_keys) return;
  add_to_keys(w->slopes, keys, w->of_queries, queries, p->d, diagonal, later, x->dk + of_k,
              t->step);
  add_to_keys(w->weights, keys, w->of_gradients, queries, p->d_v, diagonal, later,
              x->dv + t->of_v + key * t->step_v, t->step_v);
}

static void load_keys(const item_t *t, const work_t *w, const gradients_t *x, int key, int keys) {
  pack_columns(x->k + t->of_k + key * t->step, t->step, keys, t->p->d, w->of_keys, keys, PANEL);
}

// The gradients of a block of keys; with `whole`, all that it adds to those of queries too.
static void key_gradient(const item_t *t, const work_t *w, const gradients_t *x, int key,
                         int whole) {
  const attention_t *p = t->p;
  int keys = smaller(BLOCK, p->t_k - key), first = p->causal ? key : 0;
  if (first >= p->t_q) {
    fill_rows(x->dk + t->of_k + key * t->step, t->step, keys, p->d);
    fill_rows(x->dv + t->of_v + key * t->step_v, t->step_v, keys, p->d_v);
    return;
  }
  load_keys(t, w, x, key, keys);
  for (int query = first; query < p->t_q; query += BLOCK)
    add_block(t, w, x, query, key, keys, whole, 1);
}

// The gradient of a block of queries alone.
static void query_gradient(const item_t *t, const work_t *w, const gradients_t *x, int query) {
  int end = keys_seen(t->p, smaller(t->p->t_q, query + BLOCK));
  for (int key = 0; key < end; key += BLOCK) {
    int keys = smaller(BLOCK, end - key);
    load_keys(t, w, x, key, keys);
    add_block(t, w, x, query, key, keys, 1, 0);
  }
}

static void item_gradients(const attention_t *p, const work_t *w, const gradients_t *x, int item) {
  item_t t = item_of(p, item);
  if (!p->t_k) fill_rows(x->dq + t.of_q, t.step, p->t_q, p->d);
  for (int key = 0; key < p->t_k; key += BLOCK) key_gradient(&t, w, x, key, 1);
}

// Threads take whole items. Where these are too few, blocks: some make dq, some dk and dv, and
// both make the probabilities, seven products in place of five, so that nobody waits for another.
static void gradients(const attention_t *p, const gradients_t *x, int thread, int threads) {
  if (!fits(p)) {
    gradients_plain(p, x, thread, threads);
    return;
  }
  work_t w = work_of(p, thread);
  int items = p->batch * p->heads, by_query = ceiling(p->t_q, BLOCK);
  int blocks = by_query + ceiling(p->t_k, BLOCK);
  if (items >= threads || !p->t_k) {
    for (int item = thread; item < items; item += threads) item_gradients(p, &w, x, item);
    return;
  }
  for (int unit = thread; unit < items * blocks; unit += threads) {
    item_t t = item_of(p, unit / blocks);
    int block = unit % blocks;
    if (block < by_query)
      query_gradient(&t, &w, x, block * BLOCK);
    else
      key_gradient(&t, &w, x, (block - by_query) * BLOCK, 0);
  }
}

void attention_grad(const float *q, const float *k, const float *v, const float *g,
                    const float *lse, const float *delta, float *dq, float *dk, float *dv,
                    ATTENTION_NUMBERS, int thread, int threads) {
  attention_t p = {ATTENTION_VALUES, 0, 0, 0, 0, 0};
  gradients_t x = {q, k, v, g, lse, delta, dq, dk, dv};
  gradients(&p, &x, thread, threads);
}

void attention_grad_masked(const float *q, const float *k, const float *v, const float *g,
                           const float *lse, const float *delta, const uint8_t *mask, float *dq,
                           float *dk, float *dv, ATTENTION_NUMBERS, MASK_STRIDES, int thread,
                           int threads) {
  attention_t p = {ATTENTION_VALUES, mask, MASK_VALUES};
  gradients_t x = {q, k, v, g, lse, delta, dq, dk, dv};
  gradients(&p, &x, thread, threads);
}
