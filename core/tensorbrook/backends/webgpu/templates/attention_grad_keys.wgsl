// The gradients of attention's keys and values, dk and dv: blocks as in attention.wgsl, with keys
// as rows and queries as others. A workgroup computes a block of keys of a head, and at most
// COLUMN_BLOCKS * BLOCK_COLUMNS columns each of dk and dv.

// include "include/attention.wgsl"
// include "include/attention_gradient.wgsl"
// if DK
// include "include/attention_values.wgsl"

@group(0) @binding(6) var<storage, read> delta: array<f32>;
@group(0) @binding(7) var<storage, read_write> dk: array<element>;
// end
// if DV
@group(0) @binding(8) var<storage, read_write> dv: array<element>;
// end

fn load_rows(t: Task, j: u32, x: u32, is_value: bool) -> vec4f {
  // if DK
  if (is_value) { return load_v(column_offsets(t, j, T_K, x, D_V)); }
  // end
  return load_k(column_offsets(t, j, T_K, x, D));
}

fn load_others(t: Task, i: u32, x: u32, is_value: bool) -> vec4f {
  if (is_value) { return load_g(column_offsets(t, i, T_Q, x, D_V)); }
  return load_q(column_offsets(t, i, T_Q, x, D));
}

fn load_columns(t: Task, i: u32, c: u32, is_value: bool) -> vec4f {
  if (is_value) { return load_g(row_offsets(t, i, T_Q, c, D_V)); }
  return load_q(row_offsets(t, i, T_Q, c, D));
}

// The probabilities of four keys for query i; 0 where they do not depend on the scores `s`.
fn masked_probs(t: Task, i: u32, j: u32, s: vec4f) -> vec4f {
  let query_lse = lse[query_index(t, i)];
  let visible = vec4<bool>(is_visible(t, i, j), is_visible(t, i, j + 1), is_visible(t, i, j + 2),
                           is_visible(t, i, j + 3));
  return select(vec4f(), exp2(s * (SCALE * LOG2_E) - query_lse * LOG2_E),
                visible & has_visible_keys(vec4f(query_lse)));
}
// if DV

// The probabilities of four keys: uniform for a query whose keys are all masked.
fn probs(t: Task, i: u32, j: u32, masked: vec4f) -> vec4f {
  // if MASKED
  let is_uniform = (i < T_Q) & (lse[query_index(t, i)] < FULLY_MASKED_LSE);
  let keys = select(T_K, min(T_K, i + 1), CAUSAL);
  return select(masked, select(vec4f(), vec4f(1 / f32(keys)), j + NEXT < vec4u(keys)), is_uniform);
  // else
  return masked;
  // end
}

fn store_dv(p: Offsets, value: vec4f) {
  // unroll
  for (var m = 0u; m < 4; m++) { if (p.inside[m]) { dv[p.index[m]] = element(value[m]); } }
}
// end
// if DK

// The gradient of the scores of four keys and query i. `prob_grad` is that of the probabilities.
fn score_grad(t: Task, i: u32, masked: vec4f, prob_grad: vec4f) -> vec4f {
  return masked * (prob_grad - delta[query_index(t, i)]) * SCALE;
}

fn store_dk(p: Offsets, value: vec4f) {
  // unroll
  for (var m = 0u; m < 4; m++) { if (p.inside[m]) { dk[p.index[m]] = element(value[m]); } }
}
// end

@compute @workgroup_size(LANES)
fn main(@builtin(workgroup_id) group: vec3u, @builtin(num_workgroups) groups: vec3u,
        @builtin(local_invocation_index) lane: u32) {
  let task = group.y * groups.x + group.x;
  if (task >= TASKS) { return; }
  let t = task_of(task);
  let j = t.row + lane / LANES_X * 4;
  let lane_column = lane % LANES_X * 4;
  // if DK
  var dk_rows: array<mat4x4f, COLUMN_BLOCKS>;
  // end
  // if DV
  var dv_rows: array<mat4x4f, COLUMN_BLOCKS>;
  // end
  for (var query = select(0u, t.row, CAUSAL); query < T_Q; query += BLOCK_OTHERS) {
    let s = dot_products(t, query, D, false, lane);
    let i = query + lane_column;
    let p = mat4x4f(masked_probs(t, i, j, s[0]), masked_probs(t, i + 1, j, s[1]),
                    masked_probs(t, i + 2, j, s[2]), masked_probs(t, i + 3, j, s[3]));
    // if DV
    store_weights(mat4x4f(probs(t, i, j, p[0]), probs(t, i + 1, j, p[1]),
                          probs(t, i + 2, j, p[2]), probs(t, i + 3, j, p[3])), lane);
    for (var block = 0u; block < COLUMN_BLOCKS; block++) {
      for (var begin = 0u; begin < BLOCK_OTHERS && query + begin < T_Q; begin += CHUNK) {
        dv_rows[block] +=
            weighted_sum(t, query, begin, t.column + block * BLOCK_COLUMNS, true, lane);
      }
    }
    // end
    // if DK
    let prob_grad = dot_products(t, query, D_V, true, lane);
    store_weights(mat4x4f(score_grad(t, i, p[0], prob_grad[0]),
                          score_grad(t, i + 1, p[1], prob_grad[1]),
                          score_grad(t, i + 2, p[2], prob_grad[2]),
                          score_grad(t, i + 3, p[3], prob_grad[3])), lane);
    for (var block = 0u; block < COLUMN_BLOCKS; block++) {
      for (var begin = 0u; begin < BLOCK_OTHERS && query + begin < T_Q; begin += CHUNK) {
        dk_rows[block] +=
            weighted_sum(t, query, begin, t.column + block * BLOCK_COLUMNS, false, lane);
      }
    }
    // end
  }
  for (var block = 0u; block < COLUMN_BLOCKS; block++) {
    let c = t.column + block * BLOCK_COLUMNS + lane_column;
    // unroll
    for (var n = 0u; n < 4; n++) {
      // if DK
      store_dk(column_offsets(t, j, T_K, c + n, D), dk_rows[block][n]);
      // end
      // if DV
      store_dv(column_offsets(t, j, T_K, c + n, D_V), dv_rows[block][n]);
      // end
    }
  }
}
