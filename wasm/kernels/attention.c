// Attention by blocks with an online softmax (Milakov and Gimelshein 2018, arXiv:1805.02867; Dao et
// al. 2022, arXiv:2205.14135): only one block of scores exists at a time.

#include "attention.h"

static void row_reference(const head_t *head, int i, const float *q, const float *k,
                          const float *v, float *out, float *lse) {
  const attention_t *p = head->p;
  int keys = visible_keys(p, i + 1);
  double max = -__builtin_inf(), sum = 0;
  for (int pass = 0; pass < 3; pass++) {
    for (int c = 0; pass == 2 && c < p->d_v; c++) out[c] = 0;
    for (int j = 0; j < keys; j++) {
      double s = p->scale * dot_reference(q, k + j * head->qk_stride, p->d);
      if (is_masked(head, i, j)) s = MASKED_SCORE * LN_2;
      if (pass == 0 && !(s <= max)) max = s;
      if (pass == 1) sum += exp_reference(s - max);
      for (int c = 0; pass == 2 && c < p->d_v; c++)
        out[c] += (float)(exp_reference(s - max) / sum) * v[j * head->v_stride + c];
    }
  }
  *lse = keys ? max + log_reference(sum) : max;
}

static void attention_by_rows(const attention_t *p, const float *q, const float *k, const float *v,
                              float *out, float *lse, int thread, int threads) {
  int64_t rows = (int64_t)p->batch * p->heads * p->t_q;
  int end = partition_begin(rows, thread + 1, threads);
  for (int r = partition_begin(rows, thread, threads); r < end; r++) {
    head_t head = head_at(p, r / p->t_q);
    int i = r % p->t_q;
    row_reference(&head, i, q + head.q_offset + i * head.qk_stride, k + head.k_offset,
                  v + head.v_offset, out + head.out_offset + i * head.v_stride,
                  lse + head.lse_offset + i * p->heads);
  }
}

void attention_reference(const float *q, const float *k, const float *v, float *out, float *lse,
                         ATTENTION_PARAMS, int thread, int threads) {
  attention_t p = {ATTENTION_VALUES, 0, 0, 0, 0, 0};
  attention_by_rows(&p, q, k, v, out, lse, thread, threads);
}

void attention_masked_reference(const float *q, const float *k, const float *v,
                                const uint8_t *mask, float *out, float *lse, ATTENTION_PARAMS,
                                MASK_STRIDES, int thread, int threads) {
  attention_t p = {ATTENTION_VALUES, mask, MASK_VALUES};
  attention_by_rows(&p, q, k, v, out, lse, thread, threads);
}

// -- blocks of queries and keys -----------------------------------------------------------------

// A thread's scratch for one block of queries.
typedef struct {
  float *queries, *values;  // panels of q, scaled, and of v
  float *scores;            // of a block of keys; then their exponentials
  float *out, *max, *sum;   // of each query: the weighted values, the largest score, the sum
  int width;                // floats of a row of out
} attention_scratch_t;

static attention_scratch_t attention_scratch(const attention_t *p, int thread) {
  attention_scratch_t s = {.queries = (float *)scratch(thread), .width = round_up(p->d_v, PANEL)};
  s.values = s.queries + BLOCK * p->d;
  s.scores = s.values + BLOCK * s.width;
  s.out = s.scores + BLOCK * BLOCK;
  s.max = s.out + BLOCK * s.width;
  s.sum = s.max + BLOCK;
  return s;
}

static int block_fits(const attention_t *p) {
  int64_t floats = p->d + 2 * (int64_t)round_up(p->d_v, PANEL) + BLOCK + 2;
  return floats * BLOCK * 4 <= SCRATCH_BYTES;
}

// Online softmax of four queries: replace scores by exponentials relative to the new maximum, and
// update the maximum and the sum. `rescale` is the factor for the sums of earlier keys.
static void online_softmax(float *scores, int keys, float *max, float *sum, float *rescale) {
  f32x4 old_max = wasm_v128_load(max), new_max = old_max, total = wasm_f32x4_splat(0);
  NOT_UNROLLED for (int j = 0; j < keys; j++)
    new_max = wasm_f32x4_pmax(new_max, wasm_v128_load(scores + j * BLOCK));
  NOT_UNROLLED for (int j = 0; j < keys; j++) {
    f32x4 e = exp2_f32x4(wasm_f32x4_sub(wasm_v128_load(scores + j * BLOCK), new_max));
    total = wasm_f32x4_add(total, e);
    wasm_v128_store(scores + j * BLOCK, e);
  }
  f32x4 factor = exp2_f32x4(wasm_f32x4_sub(old_max, new_max));
  wasm_v128_store(max, new_max);
  wasm_v128_store(sum, multiply_add(wasm_v128_load(sum), factor, total));
  wasm_v128_store(rescale, factor);
}

static void scale_rows(float *rows, int width, int count, const float *factors) {
  for (int i = 0; i < count; i++, rows += width) {
    if (factors[i] == 1) continue;
    f32x4 factor = wasm_f32x4_splat(factors[i]);
    for (int c = 0; c < width; c += 4)
      wasm_v128_store(rows + c, wasm_f32x4_mul(wasm_v128_load(rows + c), factor));
  }
}

// Add the contribution of a block of keys to a block of queries.
static void accumulate_keys(const head_t *head, const attention_scratch_t *s, const float *k,
                            int query, int queries, int key, int keys) {
  const attention_t *p = head->p;
  int diagonal = p->causal && key == query;
  key_query_products(k, head->qk_stride, keys, s->queries, queries, p->d, diagonal, s->scores);
  for (int i = 0; i < queries; i += PANEL) {
    float rescale[PANEL], *scores = s->scores + i;
    int scored = scored_keys(diagonal, keys, i), panel_queries = min_int(PANEL, queries - i);
    if (head->mask) apply_mask(head, query + i, panel_queries, key, scored, scores);
    if (diagonal) apply_causal_mask(i, scored, scores);
    for (int half = 0; half < PANEL; half += 4)
      online_softmax(scores + half, scored, s->max + i + half, s->sum + i + half, rescale + half);
    if (key) scale_rows(s->out + i * s->width, s->width, panel_queries, rescale);
  }
  accumulate_query_rows(s->scores, queries, s->values, keys, s->width, diagonal, key > 0, s->out,
                        s->width);
}

// Divide by the sums, and store the rows of out and lse.
static void write_rows(const attention_scratch_t *s, const attention_t *p, int queries, int stride,
                       float *out, float *lse) {
  for (int i = 0; i < queries; i += 4) {
    f32x4 sum = wasm_v128_load(s->sum + i), max = wasm_v128_load(s->max + i);
    wasm_v128_store(s->max + i, wasm_f32x4_mul(wasm_f32x4_add(max, log2_f32x4(sum)),
                                               wasm_f32x4_splat(LN_2)));
  }
  for (int i = 0; i < queries; i++, out += stride) {
    f32x4 factor = wasm_f32x4_splat(s->sum[i] == 0 ? 0 : 1 / s->sum[i]);
    for (int c = 0; c < p->d_v; c += 4)
      store_lanes(out + c, wasm_f32x4_mul(wasm_v128_load(s->out + i * s->width + c), factor),
                  p->d_v - c);
    lse[i * p->heads] = s->max[i];
  }
}

static void attend(const head_t *head, const attention_scratch_t *s, int query, int queries,
                   const float *q, const float *k, const float *v, float *out, float *lse) {
  const attention_t *p = head->p;
  pack_scaled_panels(q, head->qk_stride, queries, p->d, p->scale * LOG2_E, s->queries);
  for (int i = 0; i < BLOCK; i++) s->max[i] = -__builtin_inff(), s->sum[i] = 0;
  int end = visible_keys(p, query + queries);
  if (!end) fill_zero(s->out, queries * s->width);
  for (int key = 0; key < end; key += BLOCK) {
    int keys = min_int(BLOCK, end - key);
    pack_columns(v + key * head->v_stride, head->v_stride, keys, p->d_v, s->values, keys, PANEL);
    accumulate_keys(head, s, k + key * head->qk_stride, query, queries, key, keys);
  }
  write_rows(s, p, queries, head->v_stride, out, lse);
}

static void attention_by_blocks(const attention_t *p, const float *q, const float *k,
                                const float *v, float *out, float *lse, int thread, int threads) {
  if (!block_fits(p)) {
    attention_by_rows(p, q, k, v, out, lse, thread, threads);
    return;
  }
  attention_scratch_t s = attention_scratch(p, thread);
  // Blocks are interleaved across threads, because later queries see more keys.
  int blocks = ceil_div(p->t_q, BLOCK), units = p->batch * p->heads * blocks;
  for (int unit = thread; unit < units; unit += threads) {
    head_t head = head_at(p, unit / blocks);
    int query = unit % blocks * BLOCK, queries = min_int(BLOCK, p->t_q - query);
    attend(&head, &s, query, queries, q + head.q_offset + query * head.qk_stride,
           k + head.k_offset, v + head.v_offset, out + head.out_offset + query * head.v_stride,
           lse + head.lse_offset + query * p->heads);
  }
}

void attention(const float *q, const float *k, const float *v, float *out, float *lse,
               ATTENTION_PARAMS, int thread, int threads) {
  attention_t p = {ATTENTION_VALUES, 0, 0, 0, 0, 0};
  attention_by_blocks(&p, q, k, v, out, lse, thread, threads);
}

void attention_masked(const float *q, const float *k, const float *v, const uint8_t *mask,
                      float *out, float *lse, ATTENTION_PARAMS, MASK_STRIDES, int thread,
                      int threads) {
  attention_t p = {ATTENTION_VALUES, mask, MASK_VALUES};
  attention_by_blocks(&p, q, k, v, out, lse, thread, threads);
}
