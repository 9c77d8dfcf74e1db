// Attention with an online softmax, block by block (Milakov and Gimelshein 2018, arXiv:1805.02867;
// Dao et al. 2022, arXiv:2205.14135), so that only one block of the scores exists at a time. out
// (batch, t_q, heads, d_v), lse (batch, t_q, heads). A workgroup computes a block of queries of a
// head, and at most COLUMN_BLOCKS * BLOCK_COLUMNS columns of out.

// include "include/attention.wgsl"
// include "include/attention_values.wgsl"

@group(0) @binding(4) var<storage, read_write> out: array<element>;
@group(0) @binding(5) var<storage, read_write> lse: array<f32>;

// Scores are in units of log 2, so that their exponentials are powers of two. The score of a masked
// key, and the score of a key that is out of bounds or after the query.
const MASKED_SCORE = -2.3e38;
const NO_SCORE = -3.4028234e38;
const LOG_2 = 0.6931471805599453;

fn load_rows(t: Task, i: u32, x: u32, is_value: bool) -> vec4f {
  return load_q(column_offsets(t, i, T_Q, x, D));
}

fn load_others(t: Task, j: u32, x: u32, is_value: bool) -> vec4f {
  return load_k(column_offsets(t, j, T_K, x, D));
}

fn load_columns(t: Task, j: u32, c: u32, is_value: bool) -> vec4f {
  return load_v(row_offsets(t, j, T_K, c, D_V));
}

// The score `s` of a query and a key, or its replacement if the key is not visible.
fn masked_score(t: Task, i: u32, j: u32, s: f32) -> f32 {
  let inside = (j < T_K) & !(CAUSAL & (j > i));
  // if MASKED
  let index = t.batch * MASK_BATCH + t.head * MASK_HEAD + min(i, T_Q - 1) * MASK_Q + j * MASK_K;
  return select(NO_SCORE, select(MASKED_SCORE, s, mask[select(0u, index, inside)] != 0), inside);
  // else
  return select(NO_SCORE, s, inside);
  // end
}

fn masked_scores(t: Task, i: u32, j: u32, s: vec4f) -> vec4f {
  return vec4f(masked_score(t, i, j, s.x), masked_score(t, i + 1, j, s.y),
               masked_score(t, i + 2, j, s.z), masked_score(t, i + 3, j, s.w));
}

fn exp2_score(s: vec4f, row_max: vec4f) -> vec4f {
  return select(exp2(s - row_max), vec4f(), s == vec4f(NO_SCORE));
}

// The maximum, and the sum, over the lanes with the same queries. `width` neighbouring lanes are in
// one subgroup and shuffle; workgroup memory combines the subgroups if there are several.
fn max_over_lanes(x: vec4f, width: u32, lane: u32) -> vec4f {
  var maximum = x;
  // if SUBGROUPS
  for (var d = 1u; d < width; d *= 2) { maximum = max(maximum, subgroupShuffleXor(maximum, d)); }
  if (width == LANES_X) { return maximum; }
  // end
  tile[lane] = maximum;
  workgroupBarrier();
  for (var i = 0u; i < LANES_X; i += width) {
    maximum = max(maximum, tile[lane / LANES_X * LANES_X + i]);
  }
  workgroupBarrier();
  return maximum;
}

fn sum_over_lanes(x: vec4f, width: u32, lane: u32) -> vec4f {
  var sum = x;
  // if SUBGROUPS
  for (var d = 1u; d < width; d *= 2) { sum += subgroupShuffleXor(sum, d); }
  if (width == LANES_X) { return sum; }
  // end
  tile[lane] = sum;
  workgroupBarrier();
  sum = vec4f();
  for (var i = 0u; i < LANES_X; i += width) { sum += tile[lane / LANES_X * LANES_X + i]; }
  workgroupBarrier();
  return sum;
}

fn store(p: Offsets, value: vec4f) {
  // unroll
  for (var m = 0u; m < 4; m++) { if (p.inside[m]) { out[p.index[m]] = element(value[m]); } }
}

fn store_lse(t: Task, i: u32, row_max: f32, sum: f32) {
  var infinity = 0xff800000u;        // -inf, for no keys; a constant may not be infinite
  if (i < T_Q) {
    lse[(t.batch * T_Q + i) * HEADS + t.head] =
        select((row_max + log2(sum)) * LOG_2, bitcast<f32>(infinity), sum == 0.0);
  }
}

@compute @workgroup_size(LANES)
fn main(@builtin(workgroup_id) group: vec3u, @builtin(num_workgroups) groups: vec3u,
        // if SUBGROUPS
        @builtin(subgroup_size) subgroup_size: u32,
        // end
        @builtin(local_invocation_index) lane: u32) {
  let task = group.y * groups.x + group.x;
  if (task >= TASKS) { return; }
  let t = task_of(task);
  // if SUBGROUPS
  let width = min(subgroup_size, LANES_X);
  // else
  let width = 1u;
  // end
  let i = t.row + lane / LANES_X * 4;
  // For each query the largest score so far, the sum of the exponentials relative to it, and the
  // sum of the values weighted by these exponentials.
  var row_max = vec4f(NO_SCORE);
  var sum = vec4f();
  var rows: array<mat4x4f, COLUMN_BLOCKS>;
  let end = select(T_K, min(T_K, t.row + BLOCK_ROWS), CAUSAL);
  for (var key = 0u; key < end; key += BLOCK_OTHERS) {
    var s = dot_products(t, key, D, false, lane) * (SCALE * LOG2_E);
    let j = key + lane % LANES_X * 4;
    s = mat4x4f(masked_scores(t, i, j, s[0]), masked_scores(t, i, j + 1, s[1]),
                masked_scores(t, i, j + 2, s[2]), masked_scores(t, i, j + 3, s[3]));
    let new_max = max(row_max, max_over_lanes(max(max(s[0], s[1]), max(s[2], s[3])), width, lane));
    s = mat4x4f(exp2_score(s[0], new_max), exp2_score(s[1], new_max), exp2_score(s[2], new_max),
                exp2_score(s[3], new_max));
    store_weights(s, lane);
    let rescale = exp2(row_max - new_max);
    sum = sum * rescale + sum_over_lanes(s[0] + s[1] + s[2] + s[3], width, lane);
    row_max = new_max;
    for (var block = 0u; block < COLUMN_BLOCKS; block++) {
      // unroll
      for (var n = 0u; n < 4; n++) { rows[block][n] *= rescale; }
      for (var begin = 0u; begin < BLOCK_OTHERS && key + begin < end; begin += CHUNK) {
        rows[block] +=
            weighted_sum(t, key, begin, t.column + block * BLOCK_COLUMNS, true, lane);
      }
    }
  }
  let normalizer = select(1 / sum, vec4f(), sum == vec4f());
  for (var block = 0u; block < COLUMN_BLOCKS; block++) {
    let c = t.column + block * BLOCK_COLUMNS + lane % LANES_X * 4;
    // unroll
    for (var n = 0u; n < 4; n++) {
      store(column_offsets(t, i, T_Q, c + n, D_V), rows[block][n] * normalizer);
    }
  }
  if (t.column == 0 && lane % LANES_X == 0) {
    // unroll
    for (var m = 0u; m < 4; m++) { store_lse(t, i + m, row_max[m], sum[m]); }
  }
}
