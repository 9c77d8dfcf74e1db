// Attention by blocks: the softmax is made as the scores come (Milakov and Gimelshein 2018,
// arXiv:1805.02867; Dao et al. 2022, arXiv:2205.14135), so that no more than a block of them is
// ever kept. q (batch, t_q, heads, d), k (batch, t_k, heads, d), v (batch, t_k, heads, d_v), out
// (batch, t_q, heads, d_v), lse (batch, t_q, heads). One workgroup for some queries of a head, and
// for at most SPANS * COLUMNS columns of out.

alias element = f32;

override HEADS: u32 = 1;
override T_Q: u32 = 1;
override T_K: u32 = 1;
override D: u32 = 1;
override D_V: u32 = 1;
override CAUSAL: bool = false;
override SCALE: f32 = 1.0;
// Workgroups with something to do; how many of them share a row of out; times COLUMNS, what each
// makes of it.
override UNITS: u32 = 1;
override SPLITS: u32 = 1;
override SPANS: u32 = 1;
// if MASKED
override MASK_BATCH: u32 = 0;
override MASK_HEAD: u32 = 0;
override MASK_Q: u32 = 0;
override MASK_K: u32 = 0;
// end

@group(0) @binding(0) var<storage, read> q: array<element>;
@group(0) @binding(1) var<storage, read> k: array<element>;
@group(0) @binding(2) var<storage, read> v: array<element>;
@group(0) @binding(3) var<storage, read_write> out: array<element>;
@group(0) @binding(4) var<storage, read_write> lse: array<f32>;
// if MASKED
@group(0) @binding(5) var<storage, read> mask: array<u32>;
// end

// What a score is that the mask hides, in units of log 2 as all scores are here, so that their
// exponentials are powers of two; and one of a key that is not there, or comes after the query.
const HIDDEN = -2.3e38;
const NEVER = -3.4028234e38;
const LOG2_E = 1.4426950408889634;
const LOG_2 = 0.6931471805599453;

// Invocations stand in ACROSS columns; each has four queries, and four keys or columns of out.
const LANES = 128u;
const ACROSS = 16u;
const QUERIES = LANES / ACROSS * 4;  // of a workgroup
const KEYS = ACROSS * 4;             // of a block
const COLUMNS = ACROSS * 4;          // of out, made at once
const PIECE = 16u;                   // of d, or of a block's keys, staged at once
const BLOCKS = (T_Q + QUERIES - 1) / QUERIES;

// Rows of the staged pieces are a vector longer than need be, against bank conflicts.
const Q_ROW = QUERIES / 4 + 1;
const K_ROW = KEYS / 4 + 1;
const OF_KEYS = PIECE * Q_ROW;
var<workgroup> staged: array<vec4f, OF_KEYS + PIECE * K_ROW>;
var<workgroup> scores: array<vec4f, KEYS * QUERIES / 4>;   // four queries side by side

// What a workgroup does: queries from `query`, columns from `column`, of a head of a batch item.
struct Task { batch: u32, head: u32, query: u32, column: u32 }

fn task_of(unit: u32) -> Task {
  let item = unit / SPLITS / BLOCKS;
  return Task(item / HEADS, item % HEADS, unit / SPLITS % BLOCKS * QUERIES,
              unit % SPLITS * SPANS * COLUMNS);
}

fn q_at(t: Task, i: u32, x: u32) -> f32 {
  let inside = (i < T_Q) & (x < D);
  let at = ((t.batch * T_Q + i) * HEADS + t.head) * D + x;
  return select(0.0, f32(q[select(0u, at, inside)]), inside);
}

fn k_at(t: Task, j: u32, x: u32) -> f32 {
  let inside = (j < T_K) & (x < D);
  let at = ((t.batch * T_K + j) * HEADS + t.head) * D + x;
  return select(0.0, f32(k[select(0u, at, inside)]), inside);
}

fn v_at(t: Task, j: u32, c: u32) -> f32 {
  let inside = (j < T_K) & (c < D_V);
  let at = ((t.batch * T_K + j) * HEADS + t.head) * D_V + c;
  return select(0.0, f32(v[select(0u, at, inside)]), inside);
}

fn stage_queries(t: Task, x: u32, lane: u32) {
  let i = lane % PIECE;
  let four = lane / PIECE;
  let at = t.query + four * 4;
  staged[i * Q_ROW + four] = vec4f(q_at(t, at, x + i), q_at(t, at + 1, x + i),
                                   q_at(t, at + 2, x + i), q_at(t, at + 3, x + i));
}

fn stage_keys(t: Task, key: u32, x: u32, lane: u32) {
  let i = lane % PIECE;
  for (var four = lane / PIECE; four < KEYS / 4; four += LANES / PIECE) {
    let at = key + four * 4;
    staged[OF_KEYS + i * K_ROW + four] = vec4f(k_at(t, at, x + i), k_at(t, at + 1, x + i),
                                               k_at(t, at + 2, x + i), k_at(t, at + 3, x + i));
  }
}

fn stage_values(t: Task, key: u32, column: u32, lane: u32) {
  let c = column + lane % ACROSS * 4;
  for (var i = lane / ACROSS; i < PIECE; i += LANES / ACROSS) {
    staged[i * ACROSS + lane % ACROSS] = vec4f(v_at(t, key + i, c), v_at(t, key + i, c + 1),
                                               v_at(t, key + i, c + 2), v_at(t, key + i, c + 3));
  }
}

fn outer(x: vec4f, y: vec4f) -> mat4x4f {
  return mat4x4f(x * y.x, x * y.y, x * y.z, x * y.w);
}

// Products of four queries with four keys from `key` on, one key after the other.
fn score(t: Task, key: u32, lane: u32) -> mat4x4f {
  var s = mat4x4f();
  for (var x = 0u; x < D; x += PIECE) {
    stage_queries(t, x, lane);
    stage_keys(t, key, x, lane);
    workgroupBarrier();
    for (var i = 0u; i < PIECE; i++) {
      s += outer(staged[i * Q_ROW + lane / ACROSS], staged[OF_KEYS + i * K_ROW + lane % ACROSS]);
    }
    workgroupBarrier();
  }
  return s * (SCALE * LOG2_E);
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

// The largest, and the sum, of what the invocations with the same queries have.
fn largest(x: vec4f, lane: u32) -> vec4f {
  staged[lane] = x;
  workgroupBarrier();
  var most = x;
  for (var i = 0u; i < ACROSS; i++) { most = max(most, staged[lane / ACROSS * ACROSS + i]); }
  workgroupBarrier();
  return most;
}

fn total(x: vec4f, lane: u32) -> vec4f {
  staged[lane] = x;
  workgroupBarrier();
  var sum = vec4f();
  for (var i = 0u; i < ACROSS; i++) { sum += staged[lane / ACROSS * ACROSS + i]; }
  workgroupBarrier();
  return sum;
}

fn put(t: Task, i: u32, c: u32, value: f32) {
  if (i < T_Q && c < D_V) {
    out[((t.batch * T_Q + i) * HEADS + t.head) * D_V + c] = element(value);
  }
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
        @builtin(local_invocation_index) lane: u32) {
  let unit = group.y * groups.x + group.x;
  if (unit >= UNITS) { return; }
  let t = task_of(unit);
  let four = lane / ACROSS;
  let i = t.query + four * 4;
  var top = vec4f(NEVER);            // of each query the largest score so far,
  var sum = vec4f();                 // the sum of the exponentials above it,
  var rows: array<mat4x4f, SPANS>;   // and the values times these
  let end = select(T_K, min(T_K, t.query + QUERIES), CAUSAL);
  for (var key = 0u; key < end; key += KEYS) {
    var s = score(t, key, lane);
    let j = key + lane % ACROSS * 4;
    s = mat4x4f(shown_to_all(t, i, j, s[0]), shown_to_all(t, i, j + 1, s[1]),
                shown_to_all(t, i, j + 2, s[2]), shown_to_all(t, i, j + 3, s[3]));
    let now = max(top, largest(max(max(s[0], s[1]), max(s[2], s[3])), lane));
    s = mat4x4f(power(s[0], now), power(s[1], now), power(s[2], now), power(s[3], now));
    for (var n = 0u; n < 4; n++) { scores[(lane % ACROSS * 4 + n) * (QUERIES / 4) + four] = s[n]; }
    let fade = exp2(top - now);
    sum = sum * fade + total(s[0] + s[1] + s[2] + s[3], lane);
    top = now;
    for (var span = 0u; span < SPANS; span++) {
      for (var n = 0u; n < 4; n++) { rows[span][n] *= fade; }
      for (var begin = 0u; begin < KEYS && key + begin < end; begin += PIECE) {
        stage_values(t, key + begin, t.column + span * COLUMNS, lane);
        workgroupBarrier();
        for (var n = 0u; n < PIECE; n++) {
          rows[span] += outer(scores[(begin + n) * (QUERIES / 4) + four],
                              staged[n * ACROSS + lane % ACROSS]);
        }
        workgroupBarrier();
      }
    }
  }
  let share = select(1 / sum, vec4f(), sum == vec4f());
  for (var span = 0u; span < SPANS; span++) {
    for (var n = 0u; n < 4; n++) {
      let c = t.column + span * COLUMNS + lane % ACROSS * 4 + n;
      let column = rows[span][n] * share;
      for (var m = 0u; m < 4; m++) { put(t, i + m, c, column[m]); }
    }
  }
  if (t.column == 0 && lane % ACROSS == 0) {
    for (var m = 0u; m < 4; m++) { put_lse(t, i + m, top[m], sum[m]); }
  }
}
