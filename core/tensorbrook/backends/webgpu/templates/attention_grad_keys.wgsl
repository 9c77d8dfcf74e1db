// The gradients of attention's keys and values, dk and dv: as attention.wgsl, but for some keys of
// a head block of queries by block of queries. One workgroup makes at most SPANS * COLUMNS columns
// of dk and as many of dv.

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

fn rows_at(t: Task, j: u32, x: u32, valued: bool) -> vec4f {
  // if DK
  if (valued) { return v_of(down(t, j, T_K, x, D_V)); }
  // end
  return k_of(down(t, j, T_K, x, D));
}

fn others_at(t: Task, i: u32, x: u32, valued: bool) -> vec4f {
  if (valued) { return g_of(down(t, i, T_Q, x, D_V)); }
  return q_of(down(t, i, T_Q, x, D));
}

fn columns_at(t: Task, i: u32, c: u32, valued: bool) -> vec4f {
  if (valued) { return g_of(across(t, i, T_Q, c, D_V)); }
  return q_of(across(t, i, T_Q, c, D));
}

// The probabilities of four keys for the query i, as far as the scores `s` move them.
fn moved(t: Task, i: u32, j: u32, s: vec4f) -> vec4f {
  let all = lse[row_of(t, i)];
  let moving = vec4<bool>(seen(t, i, j), seen(t, i, j + 1), seen(t, i, j + 2), seen(t, i, j + 3));
  return select(vec4f(), exp2(s * (SCALE * LOG2_E) - all * LOG2_E), moving & moves(vec4f(all)));
}
// if DV

// The probabilities of four keys: a query from which the mask hides all keys takes all alike.
fn taken(t: Task, i: u32, j: u32, moved: vec4f) -> vec4f {
  // if MASKED
  let alike = (i < T_Q) & (lse[row_of(t, i)] < ALL_HIDDEN);
  let keys = select(T_K, min(T_K, i + 1), CAUSAL);
  return select(moved, select(vec4f(), vec4f(1 / f32(keys)), j + NEXT < vec4u(keys)), alike);
  // else
  return moved;
  // end
}

fn put_dv(p: Four, value: vec4f) {
  // unroll
  for (var m = 0u; m < 4; m++) { if (p.inside[m]) { dv[p.at[m]] = element(value[m]); } }
}
// end
// if DK

// The gradient of the scores of four keys and the query i.
fn slope(t: Task, i: u32, moved: vec4f, pulled: vec4f) -> vec4f {
  return moved * (pulled - delta[row_of(t, i)]) * SCALE;
}

fn put_dk(p: Four, value: vec4f) {
  // unroll
  for (var m = 0u; m < 4; m++) { if (p.inside[m]) { dk[p.at[m]] = element(value[m]); } }
}
// end

@compute @workgroup_size(LANES)
fn main(@builtin(workgroup_id) group: vec3u, @builtin(num_workgroups) groups: vec3u,
        @builtin(local_invocation_index) lane: u32) {
  let unit = group.y * groups.x + group.x;
  if (unit >= UNITS) { return; }
  let t = task_of(unit);
  let j = t.row + lane / ACROSS * 4;
  let at = lane % ACROSS * 4;
  // if DK
  var dk_rows: array<mat4x4f, SPANS>;
  // end
  // if DV
  var dv_rows: array<mat4x4f, SPANS>;
  // end
  for (var query = select(0u, t.row, CAUSAL); query < T_Q; query += OTHERS) {
    let s = products(t, query, D, false, lane);
    let i = query + at;
    let p = mat4x4f(moved(t, i, j, s[0]), moved(t, i + 1, j, s[1]), moved(t, i + 2, j, s[2]),
                    moved(t, i + 3, j, s[3]));
    // if DV
    put_weights(mat4x4f(taken(t, i, j, p[0]), taken(t, i + 1, j, p[1]), taken(t, i + 2, j, p[2]),
                        taken(t, i + 3, j, p[3])), lane);
    for (var span = 0u; span < SPANS; span++) {
      for (var begin = 0u; begin < OTHERS && query + begin < T_Q; begin += PIECE) {
        dv_rows[span] += weighted(t, query, begin, t.column + span * COLUMNS, true, lane);
      }
    }
    // end
    // if DK
    let pulled = products(t, query, D_V, true, lane);
    put_weights(mat4x4f(slope(t, i, p[0], pulled[0]), slope(t, i + 1, p[1], pulled[1]),
                        slope(t, i + 2, p[2], pulled[2]), slope(t, i + 3, p[3], pulled[3])), lane);
    for (var span = 0u; span < SPANS; span++) {
      for (var begin = 0u; begin < OTHERS && query + begin < T_Q; begin += PIECE) {
        dk_rows[span] += weighted(t, query, begin, t.column + span * COLUMNS, false, lane);
      }
    }
    // end
  }
  for (var span = 0u; span < SPANS; span++) {
    let c = t.column + span * COLUMNS + at;
    // unroll
    for (var n = 0u; n < 4; n++) {
      // if DK
      put_dk(down(t, j, T_K, c + n, D), dk_rows[span][n]);
      // end
      // if DV
      put_dv(down(t, j, T_K, c + n, D_V), dv_rows[span][n]);
      // end
    }
  }
}
