// Attention by blocks: the softmax is made as the scores come (Milakov and Gimelshein 2018,
// arXiv:1805.02867; Dao et al. 2022, arXiv:2205.14135), so that no more than a panel of them is
// ever kept.

#include "attention.h"

static void row_plain(const item_t *t, int i, const float *q, const float *k, const float *v,
                      float *out, float *lse) {
  const attention_t *p = t->p;
  int keys = keys_seen(p, i + 1);
  double top = -__builtin_inf(), sum = 0;
  for (int pass = 0; pass < 3; pass++) {
    for (int c = 0; pass == 2 && c < p->d_v; c++) out[c] = 0;
    for (int j = 0; j < keys; j++) {
      double s = p->scale * dot_plain(q, k + j * t->step, p->d);
      if (hidden_plain(t, i, j)) s = HIDDEN * LOG_2;
      if (pass == 0 && !(s <= top)) top = s;
      if (pass == 1) sum += exp_plain(s - top);
      for (int c = 0; pass == 2 && c < p->d_v; c++)
        out[c] += (float)(exp_plain(s - top) / sum) * v[j * t->step_v + c];
    }
  }
  *lse = keys ? top + log_plain(sum) : top;
}

static void attention_plain(const attention_t *p, const float *q, const float *k, const float *v,
                            float *out, float *lse, int thread, int threads) {
  int64_t rows = (int64_t)p->batch * p->heads * p->t_q;
  int end = share(rows, thread + 1, threads);
  for (int r = share(rows, thread, threads); r < end; r++) {
    item_t t = item_of(p, r / p->t_q);
    int i = r % p->t_q;
    row_plain(&t, i, q + t.of_q + i * t.step, k + t.of_k, v + t.of_v,
              out + t.of_out + i * t.step_v, lse + t.of_row + i * p->heads);
  }
}

void attention_ref(const float *q, const float *k, const float *v, float *out, float *lse,
                   ATTENTION_NUMBERS, int thread, int threads) {
  attention_t p = {ATTENTION_VALUES, 0, 0, 0, 0, 0};
  attention_plain(&p, q, k, v, out, lse, thread, threads);
}

void attention_masked_ref(const float *q, const float *k, const float *v, const uint8_t *mask,
                          float *out, float *lse, ATTENTION_NUMBERS, MASK_STRIDES, int thread,
                          int threads) {
  attention_t p = {ATTENTION_VALUES, mask, MASK_VALUES};
  attention_plain(&p, q, k, v, out, lse, thread, threads);
}

// -- the fast form ------------------------------------------------------------------------------

// A thread's scratch for one block of queries.
typedef struct {
  float *queries, *values;  // panels of q, scaled, and of v
  float *scores;            // of a block of keys; then their exponentials
  float *out, *top, *sum;   // of each query: what was added up, the largest score, the sum
  int width;                // floats of a row of out
} work_t;

static work_t work_of(const attention_t *p, int thread) {
  work_t w = {.queries = (float *)scratch(thread), .width = whole(p->d_v, PANEL)};
  w.values = w.queries + BLOCK * p->d;
  w.scores = w.values + BLOCK * w.width;
  w.out = w.scores + BLOCK * BLOCK;
  w.top = w.out + BLOCK * w.width;
  w.sum = w.top + BLOCK;
  return w;
}

static int fits(const attention_t *p) {
  int64_t floats = p->d + 2 * (int64_t)whole(p->d_v, PANEL) + BLOCK + 2;
  return floats * BLOCK * 4 <= SCRATCH_BYTES;
}

// Scores become exponentials above the largest score so far, which grows, as does the sum.
// `fade` gets what earlier sums of these four queries must be multiplied by.
static void soften(float *scores, int keys, float *top, float *sum, float *fade) {
  f32x4 before = wasm_v128_load(top), now = before, total = wasm_f32x4_splat(0);
  NOT_UNROLLED for (int j = 0; j < keys; j++)
    now = wasm_f32x4_pmax(now, wasm_v128_load(scores + j * BLOCK));
  NOT_UNROLLED for (int j = 0; j < keys; j++) {
    f32x4 e = power_of_two(wasm_f32x4_sub(wasm_v128_load(scores + j * BLOCK), now));
    total = wasm_f32x4_add(total, e);
    wasm_v128_store(scores + j * BLOCK, e);
  }
  f32x4 less = power_of_two(wasm_f32x4_sub(before, now));
  wasm_v128_store(top, now);
  wasm_v128_store(sum, multiply_add(wasm_v128_load(sum), less, total));
  wasm_v128_store(fade, less);
}

static void multiply_rows(float *rows, int width, int count, const float *factors) {
  for (int i = 0; i < count; i++, rows += width) {
    if (factors[i] == 1) continue;
    f32x4 factor = wasm_f32x4_splat(factors[i]);
    for (int c = 0; c < width; c += 4)
      wasm_v128_store(rows + c, wasm_f32x4_mul(wasm_v128_load(rows + c), factor));
  }
}

// What a block of keys adds to a block of queries.
static void add_keys(const item_t *t, const work_t *w, const float *k, int query, int queries,
                     int key, int keys) {
  const attention_t *p = t->p;
  int diagonal = p->causal && key == query;
  score(k, t->step, keys, w->queries, queries, p->d, diagonal, w->scores);
  for (int i = 0; i < queries; i += PANEL) {
    float fade[PANEL], *scores = w->scores + i;
    int scored = keys_scored(diagonal, keys, i), real = smaller(PANEL, queries - i);
    if (t->mask) hide(t, query + i, real, key, scored, scores);
    if (diagonal) hide_future(i, scored, scores);
    for (int half = 0; half < PANEL; half += 4)
      soften(scores + half, scored, w->top + i + half, w->sum + i + half, fade + half);
    if (key) multiply_rows(w->out + i * w->width, w->width, real, fade);
  }
  add_to_queries(w->scores, queries, w->values, keys, w->width, diagonal, key > 0, w->out,
                 w->width);
}

static void write_rows(const work_t *w, const attention_t *p, int queries, int step, float *out,
                       float *lse) {
  for (int i = 0; i < queries; i += 4) {
    f32x4 sum = wasm_v128_load(w->sum + i), top = wasm_v128_load(w->top + i);
    wasm_v128_store(w->top + i, wasm_f32x4_mul(wasm_f32x4_add(top, log_2(sum)),
                                               wasm_f32x4_splat(LOG_2)));
  }
  for (int i = 0; i < queries; i++, out += step) {
    f32x4 share = wasm_f32x4_splat(w->sum[i] == 0 ? 0 : 1 / w->sum[i]);
    for (int c = 0; c < p->d_v; c += 4)
      store_lanes(out + c, wasm_f32x4_mul(wasm_v128_load(w->out + i * w->width + c), share),
                  p->d_v - c);
    lse[i * p->heads] = w->top[i];
  }
}

static void attend(const item_t *t, const work_t *w, int query, int queries, const float *q,
                   const float *k, const float *v, float *out, float *lse) {
  const attention_t *p = t->p;
  pack_panels(q, t->step, queries, p->d, p->scale * LOG2_E, w->queries);
  for (int i = 0; i < BLOCK; i++) w->top[i] = -__builtin_inff(), w->sum[i] = 0;
  int end = keys_seen(p, query + queries);
  if (!end) fill_zero(w->out, queries * w->width);
  for (int key = 0; key < end; key += BLOCK) {
    int keys = smaller(BLOCK, end - key);
    pack_columns(v + key * t->step_v, t->step_v, keys, p->d_v, w->values, keys, PANEL);
    add_keys(t, w, k + key * t->step, query, queries, key, keys);
  }
  write_rows(w, p, queries, t->step_v, out, lse);
}

static void attention_fast(const attention_t *p, const float *q, const float *k, const float *v,
                           float *out, float *lse, int thread, int threads) {
  if (!fits(p)) {
    attention_plain(p, q, k, v, out, lse, thread, threads);
    return;
  }
  work_t w = work_of(p, thread);
  // In turn, because later blocks of queries see more keys.
  int blocks = ceiling(p->t_q, BLOCK), units = p->batch * p->heads * blocks;
  for (int unit = thread; unit < units; unit += threads) {
    item_t t = item_of(p, unit / blocks);
    int query = unit % blocks * BLOCK, queries = smaller(BLOCK, p->t_q - query);
    attend(&t, &w, query, queries, q + t.of_q + query * t.step, k + t.of_k, v + t.of_v,
           out + t.of_out + query * t.step_v, lse + t.of_row + query * p->heads);
  }
}

void attention(const float *q, const float *k, const float *v, float *out, float *lse,
               ATTENTION_NUMBERS, int thread, int threads) {
  attention_t p = {ATTENTION_VALUES, 0, 0, 0, 0, 0};
  attention_fast(&p, q, k, v, out, lse, thread, threads);
}

void attention_masked(const float *q, const float *k, const float *v, const uint8_t *mask,
                      float *out, float *lse, ATTENTION_NUMBERS, MASK_STRIDES, int thread,
                      int threads) {
  attention_t p = {ATTENTION_VALUES, mask, MASK_VALUES};
  attention_fast(&p, q, k, v, out, lse, thread, threads);
}
