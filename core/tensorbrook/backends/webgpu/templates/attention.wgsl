// Attention by blocks: the softmax is made as the scores come (Milakov and Gimelshein 2018,
// arXiv:1805.02867; Dao et al. 2022, arXiv:2205.14135), so that no more than a block of them is
// ever kept. out (batch, t_q, heads, d_v), lse (batch, t_q, heads). One workgroup for some queries
// of a head, and for at most SPANS * COLUMNS columns of out.

// include "include/attention.wgsl"
// include "include/attention_values.wgsl"

@group(0) @binding(4) var<storage, read_write> out: array<element>;
@group(0) @binding(5) var<storage, read_write> lse: array<f32>;

// What a score is that the mask hides, in units of log 2 as all scores are here, so that their
// exponentials are powers of two; and one of a key that is not there, or comes after the query.
const HIDDEN = -2.3e38;
const NEVER = -3.4028234e38;
const LOG_2 = 0.6931471805599453;

fn rows_at(t: Task, i: u32, x: u32, valued: bool) -> vec4f { return q_of(down(t, i, T_Q, x, D)); }

fn others_at(t: Task, j: u32, x: u32, valued: bool) -> vec4f { return k_of(down(t, j, T_K, x, D)); }

fn columns_at(t: Task, j: u32, c: u32, valued: bool) -> vec4f {
  return v_of(across(t, j, T_K, c, D_V));
}

// The score `s` of a query and a key, if it may be seen.
fn shown(t: Task, i: u32, j: u32, s: f32) -> f32 {
  let there = (j < T_K) & !(CAUSAL & (j > i));
  // if MASKED
  let at = t.batch * MASK_BATCH + t.head * MASK_HEAD + min(i, T_Q - 1) * MASK_Q + j * MASK_K;
  return select(NEVER, select(HIDDEN, s, mask[select(0u, at, there)] != 0), there);
  // else
  return select(NEVER, s, there);
  // end
}

fn shown_to_all(t: Task, i: u32, j: u32, s: vec4f) -> vec4f {
  return vec4f(shown(t, i, j, s.x), shown(t, i + 1, j, s.y), shown(t, i + 2, j, s.z),
               shown(t, i + 3, j, s.w));
}

fn power(s: vec4f, top: vec4f) -> vec4f {
  return select(exp2(s - top), vec4f(), s == vec4f(NEVER));
}

// The largest, and the sum, of what the invocations with the same queries have. `near` neighbours
// are one subgroup: they shuffle, and only if ACROSS are more, staged memory brings these together.
fn largest(x: vec4f, near: u32, lane: u32) -> vec4f {
  var most = x;
  // if SUBGROUPS
  for (var d = 1u; d < near; d *= 2) { most = max(most, subgroupShuffleXor(most, d)); }
  if (near == ACROSS) { return most; }
  // end
  staged[lane] = most;
  workgroupBarrier();
  for (var i = 0u; i < ACROSS; i += near) {
    most = max(most, staged[lane / ACROSS * ACROSS + i]);
  }
  workgroupBarrier();
  return most;
}

fn total(x: vec4f, near: u32, lane: u32) -> vec4f {
  var sum = x;
  // if SUBGROUPS
  for (var d = 1u; d < near; d *= 2) { sum += subgroupShuffleXor(sum, d); }
  if (near == ACROSS) { return sum; }
  // end
  staged[lane] = sum;
  workgroupBarrier();
  sum = vec4f();
  for (var i = 0u; i < ACROSS; i += near) { sum += staged[lane / ACROSS * ACROSS + i]; }
  workgroupBarrier();
  return sum;
}

fn put(p: Four, value: vec4f) {
  // unroll
  for (var m = 0u; m < 4; m++) { if (p.inside[m]) { out[p.at[m]] = element(value[m]); } }
}

fn put_lse(t: Task, i: u32, top: f32, sum: f32) {
  var infinity = 0xff800000u;        // -inf, which no constant may be: there is no key
  if (i < T_Q) {
    lse[(t.batch * T_Q + i) * HEADS + t.head] =
        select((top + log2(sum)) * LOG_2, bitcast<f32>(infinity), sum == 0.0);
  }
}

@compute @workgroup_size(LANES)
fn main(@builtin(workgroup_id) group: vec3u, @builtin(num_workgroups) groups: vec3u,
        // if SUBGROUPS
        @builtin(subgroup_size) subgroup: u32,
        // end
        @builtin(local_invocation_index) lane: u32) {
  let unit = group.y * groups.x + group.x;
  if (unit >= UNITS) { return; }
  let t = task_of(unit);
  // if SUBGROUPS
  let near = min(subgroup, ACROSS);
  // else
  let near = 1u;
  // end
  let i = t.row + lane / ACROSS * 4;
  var top = vec4f(NEVER);            // of each query the largest score so far,
  var sum = vec4f();                 // the sum of the exponentials above it,
  var rows: array<mat4x4f, SPANS>;   // and the values times these
  let end = select(T_K, min(T_K, t.row + ROWS), CAUSAL);
  for (var key = 0u; key < end; key += OTHERS) {
    var s = products(t, key, D, false, lane) * (SCALE * LOG2_E);
    let j = key + lane % ACROSS * 4;
    s = mat4x4f(shown_to_all(t, i, j, s[0]), shown_to_all(t, i, j + 1, s[1]),
                shown_to_all(t, i, j + 2, s[2]), shown_to_all(t, i, j + 3, s[3]));
    let now = max(top, largest(max(max(s[0], s[1]), max(s[2], s[3])), near, lane));
    s = mat4x4f(power(s[0], now), power(s[1], now), power(s[2], now), power(s[3], now));
    put_weights(s, lane);
    let fade = exp2(top - now);
    sum = sum * fade + total(s[0] + s[1] + s[2] + s[3], near, lane);
    top = now;
    for (var span = 0u; span < SPANS; span++) {
      // unroll
      for (var n = 0u; n < 4; n++) { rows[span][n] *= fade; }
      for (var begin = 0u; begin < OTHERS && key + begin < end; begin += PIECE) {
        rows[span] += weighted(t, key, begin, t.column + span * COLUMNS, true, lane);
      }
    }
  }
  let share = select(1 / sum, vec4f(), sum == vec4f());
  for (var span = 0u; span < SPANS; span++) {
    let c = t.column + span * COLUMNS + lane % ACROSS * 4;
    // unroll
    for (var n = 0u; n < 4; n++) { put(down(t, i, T_Q, c + n, D_V), rows[span][n] * share); }
  }
  if (t.column == 0 && lane % ACROSS == 0) {
    // unroll
    for (var m = 0u; m < 4; m++) { put_lse(t, i + m, top[m], sum[m]); }
  }
}
