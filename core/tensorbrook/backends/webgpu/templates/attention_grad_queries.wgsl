// The gradient of attention's queries, dq: as attention.wgsl, block of keys by block of keys. One
// workgroup for some queries of a head, and for at most SPANS * COLUMNS columns of dq.

// include "include/attention.wgsl"
// include "include/attention_values.wgsl"
// include "include/attention_gradient.wgsl"

@group(0) @binding(6) var<storage, read> delta: array<f32>;
@group(0) @binding(7) var<storage, read_write> dq: array<element>;

fn rows_at(t: Task, i: u32, x: u32, valued: bool) -> vec4f {
  if (valued) { return g_of(down(t, i, T_Q, x, D_V)); }
  return q_of(down(t, i, T_Q, x, D));
}

fn others_at(t: Task, j: u32, x: u32, valued: bool) -> vec4f {
  if (valued) { return v_of(down(t, j, T_K, x, D_V)); }
  return k_of(down(t, j, T_K, x, D));
}

fn columns_at(t: Task, j: u32, c: u32, valued: bool) -> vec4f {
  return k_of(across(t, j, T_K, c, D));
}

// The gradient of the scores of four queries and the key j.
fn slope(t: Task, i: u32, j: u32, s: vec4f, pulled: vec4f, all: vec4f, mean: vec4f) -> vec4f {
  let moving = vec4<bool>(seen(t, i, j), seen(t, i + 1, j), seen(t, i + 2, j), seen(t, i + 3, j));
  let weight = exp2(s * (SCALE * LOG2_E) - all * LOG2_E);
  return select(vec4f(), weight * (pulled - mean) * SCALE, moving & moves(all));
}

fn put(p: Four, value: vec4f) {
  // unroll
  for (var m = 0u; m < 4; m++) { if (p.inside[m]) { dq[p.at[m]] = element(value[m]); } }
}

@compute @workgroup_size(LANES)
fn main(@builtin(workgroup_id) group: vec3u, @builtin(num_workgroups) groups: vec3u,
        @builtin(local_invocation_index) lane: u32) {
  let unit = group.y * groups.x + group.x;
  if (unit >= UNITS) { return; }
  let t = task_of(unit);
  let i = t.row + lane / ACROSS * 4;
  let at = vec4u(row_of(t, i), row_of(t, i + 1), row_of(t, i + 2), row_of(t, i + 3));
  let all = vec4f(lse[at.x], lse[at.y], lse[at.z], lse[at.w]);
  let mean = vec4f(delta[at.x], delta[at.y], delta[at.z], delta[at.w]);
  var rows: array<mat4x4f, SPANS>;
  let end = select(T_K, min(T_K, t.row + ROWS), CAUSAL);
  for (var key = 0u; key < end; key += OTHERS) {
    let s = products(t, key, D, false, lane);
    let pulled = products(t, key, D_V, true, lane);
    let j = key + lane % ACROSS * 4;
    put_weights(mat4x4f(slope(t, i, j, s[0], pulled[0], all, mean),
                        slope(t, i, j + 1, s[1], pulled[1], all, mean),
                        slope(t, i, j + 2, s[2], pulled[2], all, mean),
                        slope(t, i, j + 3, s[3], pulled[3], all, mean)), lane);
    for (var span = 0u; span < SPANS; span++) {
      for (var begin = 0u; begin < OTHERS && key + begin < end; begin += PIECE) {
        rows[span] += weighted(t, key, begin, t.column + span * COLUMNS, false, lane);
      }
    }
  }
  for (var span = 0u; span < SPANS; span++) {
    let c = t.column + span * COLUMNS + lane % ACROSS * 4;
    // unroll
    for (var n = 0u; n < 4; n++) { put(down(t, i, T_Q, c + n, D), rows[span][n]); }
  }
}
