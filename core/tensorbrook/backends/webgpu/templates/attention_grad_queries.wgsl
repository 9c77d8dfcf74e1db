// The gradient of attention's queries, dq: blocks as in attention.wgsl. A workgroup computes a
// block of queries of a head, and at most COLUMN_BLOCKS * BLOCK_COLUMNS columns of dq.

// include "include/attention.wgsl"
// include "include/attention_values.wgsl"
// include "include/attention_gradient.wgsl"

@group(0) @binding(6) var<storage, read> delta: array<f32>;
@group(0) @binding(7) var<storage, read_write> dq: array<element>;

fn load_rows(t: Task, i: u32, x: u32, is_value: bool) -> vec4f {
  if (is_value) { return load_g(column_offsets(t, i, T_Q, x, D_V)); }
  return load_q(column_offsets(t, i, T_Q, x, D));
}

fn load_others(t: Task, j: u32, x: u32, is_value: bool) -> vec4f {
  if (is_value) { return load_v(column_offsets(t, j, T_K, x, D_V)); }
  return load_k(column_offsets(t, j, T_K, x, D));
}

fn load_columns(t: Task, j: u32, c: u32, is_value: bool) -> vec4f {
  return load_k(row_offsets(t, j, T_K, c, D));
}

// The gradient of the scores of four queries and key j. `prob_grad` is that of the probabilities.
fn score_grad(t: Task, i: u32, j: u32, s: vec4f, prob_grad: vec4f, query_lse: vec4f,
              query_delta: vec4f) -> vec4f {
  let visible = vec4<bool>(is_visible(t, i, j), is_visible(t, i + 1, j), is_visible(t, i + 2, j),
                           is_visible(t, i + 3, j));
  let prob = exp2(s * (SCALE * LOG2_E) - query_lse * LOG2_E);
  return select(vec4f(), prob * (prob_grad - query_delta) * SCALE,
                visible & has_visible_keys(query_lse));
}

fn store(p: Offsets, value: vec4f) {
  // unroll
  for (var m = 0u; m < 4; m++) { if (p.inside[m]) { dq[p.index[m]] = element(value[m]); } }
}

@compute @workgroup_size(LANES)
fn main(@builtin(workgroup_id) group: vec3u, @builtin(num_workgroups) groups: vec3u,
        @builtin(local_invocation_index) lane: u32) {
  let task = group.y * groups.x + group.x;
  if (task >= TASKS) { return; }
  let t = task_of(task);
  let i = t.row + lane / LANES_X * 4;
  let queries = vec4u(query_index(t, i), query_index(t, i + 1), query_index(t, i + 2),
                      query_index(t, i + 3));
  let query_lse = vec4f(lse[queries.x], lse[queries.y], lse[queries.z], lse[queries.w]);
  let query_delta = vec4f(delta[queries.x], delta[queries.y], delta[queries.z], delta[queries.w]);
  var rows: array<mat4x4f, COLUMN_BLOCKS>;
  let end = select(T_K, min(T_K, t.row + BLOCK_ROWS), CAUSAL);
  for (var key = 0u; key < end; key += BLOCK_OTHERS) {
    let s = dot_products(t, key, D, false, lane);
    let prob_grad = dot_products(t, key, D_V, true, lane);
    let j = key + lane % LANES_X * 4;
    store_weights(mat4x4f(score_grad(t, i, j, s[0], prob_grad[0], query_lse, query_delta),
                          score_grad(t, i, j + 1, s[1], prob_grad[1], query_lse, query_delta),
                          score_grad(t, i, j + 2, s[2], prob_grad[2], query_lse, query_delta),
                          score_grad(t, i, j + 3, s[3], prob_grad[3], query_lse, query_delta)),
                  lane);
    for (var block = 0u; block < COLUMN_BLOCKS; block++) {
      for (var begin = 0u; begin < BLOCK_OTHERS && key + begin < end; begin += CHUNK) {
        rows[block] +=
            weighted_sum(t, key, begin, t.column + block * BLOCK_COLUMNS, false, lane);
      }
    }
  }
  for (var block = 0u; block < COLUMN_BLOCKS; block++) {
    let c = t.column + block * BLOCK_COLUMNS + lane % LANES_X * 4;
    // unroll
    for (var n = 0u; n < 4; n++) {
      store(column_offsets(t, i, T_Q, c + n, D), rows[block][n]);
    }
  }
}
