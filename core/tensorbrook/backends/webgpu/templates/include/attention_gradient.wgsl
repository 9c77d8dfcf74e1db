// What both kernels of attention's gradient have: g, the gradient of out, and lse. The
// probabilities are made again from lse. delta (batch, t_q, heads), which one of them may do
// without, are the sums of g * out, less the gradient of lse.

@group(0) @binding(4) var<storage, read> g: array<element>;
@group(0) @binding(5) var<storage, read> lse: array<f32>;

// All scores of a query whose lse lies below are hidden.
const ALL_HIDDEN = -1e37;

fn g_of(p: Four) -> vec4f {
  let four = vec4<element>(g[p.at.x], g[p.at.y], g[p.at.z], g[p.at.w]);
  return select(vec4f(), vec4f(four), p.inside);
}

// Where lse and delta have a query, or the last one if it is not there.
fn row_of(t: Task, i: u32) -> u32 {
  return (t.batch * T_Q + min(i, max(T_Q, 1) - 1)) * HEADS + t.head;
}

// Whether not all scores of a query are hidden; a NaN is not, and shows.
fn moves(all: vec4f) -> vec4<bool> { return !(all < vec4f(ALL_HIDDEN)); }

// Whether query and key are there, and the one may see the other.
fn seen(t: Task, i: u32, j: u32) -> bool {
  let there = (i < T_Q) & (j < T_K) & !(CAUSAL & (j > i));
  // if MASKED
  let at = t.batch * MASK_BATCH + t.head * MASK_HEAD + i * MASK_Q + j * MASK_K;
  return there & (mask[select(0u, at, there)] != 0);
  // else
  return there;
  // end
}
