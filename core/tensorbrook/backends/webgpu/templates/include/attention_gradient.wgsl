// Common to both kernels of the gradient of attention: g, the gradient of out, and lse, from which
// the probabilities are recomputed. delta (batch, t_q, heads), which one of the kernels may not
// need, is the sum of g * out over d_v, minus the gradient of lse.

@group(0) @binding(4) var<storage, read> g: array<element>;
@group(0) @binding(5) var<storage, read> lse: array<f32>;

// lse of a query is below this if all of its scores are masked.
const FULLY_MASKED_LSE = -1e37;

fn load_g(p: Offsets) -> vec4f {
  let elements = vec4<element>(g[p.index.x], g[p.index.y], g[p.index.z], g[p.index.w]);
  return select(vec4f(), vec4f(elements), p.inside);
}

// The index of query i in lse and delta, clamped to the last query.
fn query_index(t: Task, i: u32) -> u32 {
  return (t.batch * T_Q + min(i, max(T_Q, 1) - 1)) * HEADS + t.head;
}

// Whether a query has unmasked scores. True for NaN, so that NaN propagates.
fn has_visible_keys(query_lse: vec4f) -> vec4<bool> {
  return !(query_lse < vec4f(FULLY_MASKED_LSE));
}

// Whether query and key are in bounds, and the key is not masked.
fn is_visible(t: Task, i: u32, j: u32) -> bool {
  let inside = (i < T_Q) & (j < T_K) & !(CAUSAL & (j > i));
  // if MASKED
  let index = t.batch * MASK_BATCH + t.head * MASK_HEAD + i * MASK_Q + j * MASK_K;
  return inside & (mask[select(0u, index, inside)] != 0);
  // else
  return inside;
  // end
}
