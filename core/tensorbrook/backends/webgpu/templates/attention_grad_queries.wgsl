// The gradient of attention's queries, dq: as attention.wgsl, block of keys by block of keys. The
// probabilities are made again from lse. g is the gradient of out, delta (batch, t_q, heads) the
// sums of g * out, less the gradient of lse. One workgroup for some queries of a head, and for at
// most SPANS * COLUMNS columns of dq.

alias element = f32;

override HEADS: u32 = 1;
override T_Q: u32 = 1;
override T_K: u32 = 1;
override D: u32 = 1;
override D_V: u32 = 1;
override CAUSAL: bool = false;
override SCALE: f32 = 1.0;
// Workgroups with something to do; how many of them share a row of dq; times COLUMNS, what each
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
@group(0) @binding(3) var<storage, read> g: array<element>;
@group(0) @binding(4) var<storage, read> lse: array<f32>;
@group(0) @binding(5) var<storage, read> delta: array<f32>;
@group(0) @binding(6) var<storage, read_write> dq: array<element>;
// if MASKED
@group(0) @binding(7) var<storage, read> mask: array<u32>;
// end

// All scores of a query whose lse lies below are hidden.
const ALL_HIDDEN = -1e37;
const LOG2_E = 1.4426950408889634;

// Invocations stand in ACROSS columns; each has four queries, and four keys or columns of dq.
const LANES = 128u;
const ACROSS = 16u;
const QUERIES = LANES / ACROSS * 4;  // of a workgroup
const KEYS = ACROSS * 4;             // of a block
const COLUMNS = ACROSS * 4;          // of dq, made at once
const PIECE = 16u;                   // of d or d_v, or of a block's keys, staged at once
const BLOCKS = (T_Q + QUERIES - 1) / QUERIES;

// Rows of the staged pieces are a vector longer than need be, against bank conflicts.
const Q_ROW = QUERIES / 4 + 1;
const K_ROW = KEYS / 4 + 1;
const OF_KEYS = PIECE * Q_ROW;
var<workgroup> staged: array<vec4f, OF_KEYS + PIECE * K_ROW>;
var<workgroup> slopes: array<vec4f, KEYS * QUERIES / 4>;   // four queries side by side

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

fn g_at(t: Task, i: u32, x: u32) -> f32 {
  let inside = (i < T_Q) & (x < D_V);
  let at = ((t.batch * T_Q + i) * HEADS + t.head) * D_V + x;
  return select(0.0, f32(g[select(0u, at, inside)]), inside);
}

fn v_at(t: Task, j: u32, x: u32) -> f32 {
  let inside = (j < T_K) & (x < D_V);
  let at = ((t.batch * T_K + j) * HEADS + t.head) * D_V + x;
  return select(0.0, f32(v[select(0u, at, inside)]), inside);
}

// Of q and k, and of g and v, what lies from x on in the rows of the queries and keys.
fn stage_scored(t: Task, key: u32, x: u32, lane: u32) {
  let i = lane % PIECE;
  for (var four = lane / PIECE; four < QUERIES / 4; four += LANES / PIECE) {
    let at = t.query + four * 4;
    staged[i * Q_ROW + four] = vec4f(q_at(t, at, x + i), q_at(t, at + 1, x + i),
                                     q_at(t, at + 2, x + i), q_at(t, at + 3, x + i));
  }
  for (var four = lane / PIECE; four < KEYS / 4; four += LANES / PIECE) {
    let at = key + four * 4;
    staged[OF_KEYS + i * K_ROW + four] = vec4f(k_at(t, at, x + i), k_at(t, at + 1, x + i),
                                               k_at(t, at + 2, x + i), k_at(t, at + 3, x + i));
  }
}

fn stage_valued(t: Task, key: u32, x: u32, lane: u32) {
  let i = lane % PIECE;
  for (var four = lane / PIECE; four < QUERIES / 4; four += LANES / PIECE) {
    let at = t.query + four * 4;
    staged[i * Q_ROW + four] = vec4f(g_at(t, at, x + i), g_at(t, at + 1, x + i),
                                     g_at(t, at + 2, x + i), g_at(t, at + 3, x + i));
  }
  for (var four = lane / PIECE; four < KEYS / 4; four += LANES / PIECE) {
    let at = key + four * 4;
    staged[OF_KEYS + i * K_ROW + four] = vec4f(v_at(t, at, x + i), v_at(t, at + 1, x + i),
                                               v_at(t, at + 2, x + i), v_at(t, at + 3, x + i));
  }
}

fn stage_keys(t: Task, key: u32, column: u32, lane: u32) {
  let c = column + lane % ACROSS * 4;
  for (var i = lane / ACROSS; i < PIECE; i += LANES / ACROSS) {
    staged[i * ACROSS + lane % ACROSS] = vec4f(k_at(t, key + i, c), k_at(t, key + i, c + 1),
                                               k_at(t, key + i, c + 2), k_at(t, key + i, c + 3));
  }
}

fn outer(x: vec4f, y: vec4f) -> mat4x4f {
  return mat4x4f(x * y.x, x * y.y, x * y.z, x * y.w);
}

// What a staged piece adds to the products of four queries with four keys.
fn products(lane: u32) -> mat4x4f {
  var s = mat4x4f();
  for (var i = 0u; i < PIECE; i++) {
    s += outer(staged[i * Q_ROW + lane / ACROSS], staged[OF_KEYS + i * K_ROW + lane % ACROSS]);
  }
  return s;
}

fn score(t: Task, key: u32, lane: u32) -> mat4x4f {
  var s = mat4x4f();
  for (var x = 0u; x < D; x += PIECE) {
    stage_scored(t, key, x, lane);
    workgroupBarrier();
    s += products(lane);
    workgroupBarrier();
  }
  return s;
}

// Products of the gradients of four rows of out with four values.
fn pull(t: Task, key: u32, lane: u32) -> mat4x4f {
  var s = mat4x4f();
  for (var x = 0u; x < D_V; x += PIECE) {
    stage_valued(t, key, x, lane);
    workgroupBarrier();
    s += products(lane);
    workgroupBarrier();
  }
  return s;
}

// Whether a score moves: the key is there, may be seen, and some key may.
fn moves(t: Task, i: u32, j: u32, all: f32) -> bool {
  let there = (i < T_Q) & (j < T_K) & !(CAUSAL & (j > i)) & (all >= ALL_HIDDEN);
  // if MASKED
  let at = t.batch * MASK_BATCH + t.head * MASK_HEAD + i * MASK_Q + j * MASK_K;
  return there & (mask[select(0u, at, there)] != 0);
  // else
  return there;
  // end
}

// The gradient of the scores of four queries and the key j.
fn slope(t: Task, i: u32, j: u32, s: vec4f, pulled: vec4f, all: vec4f, mean: vec4f) -> vec4f {
  let moving = vec4<bool>(moves(t, i, j, all.x), moves(t, i + 1, j, all.y),
                          moves(t, i + 2, j, all.z), moves(t, i + 3, j, all.w));
  let weight = exp2(s * (SCALE * LOG2_E) - all * LOG2_E);
  return select(vec4f(), weight * (pulled - mean) * SCALE, moving);
}

fn row_of(t: Task, i: u32) -> u32 {
  return (t.batch * T_Q + min(i, T_Q - 1)) * HEADS + t.head;
}

fn put(t: Task, i: u32, c: u32, value: f32) {
  if (i < T_Q && c < D) { dq[((t.batch * T_Q + i) * HEADS + t.head) * D + c] = element(value); }
}

@compute @workgroup_size(LANES)
fn main(@builtin(workgroup_id) group: vec3u, @builtin(num_workgroups) groups: vec3u,
        @builtin(local_invocation_index) lane: u32) {
  let unit = group.y * groups.x + group.x;
  if (unit >= UNITS) { return; }
  let t = task_of(unit);
  let four = lane / ACROSS;
  let i = t.query + four * 4;
  let all = vec4f(lse[row_of(t, i)], lse[row_of(t, i + 1)], lse[row_of(t, i + 2)],
                  lse[row_of(t, i + 3)]);
  let mean = vec4f(delta[row_of(t, i)], delta[row_of(t, i + 1)], delta[row_of(t, i + 2)],
                   delta[row_of(t, i + 3)]);
  var rows: array<mat4x4f, SPANS>;
  let end = select(T_K, min(T_K, t.query + QUERIES), CAUSAL);
  for (var key = 0u; key < end; key += KEYS) {
    let s = score(t, key, lane);
    let pulled = pull(t, key, lane);
    let at = lane % ACROSS * 4;
    let j = key + at;
    slopes[at * (QUERIES / 4) + four] = slope(t, i, j, s[0], pulled[0], all, mean);
    slopes[(at + 1) * (QUERIES / 4) + four] = slope(t, i, j + 1, s[1], pulled[1], all, mean);
    slopes[(at + 2) * (QUERIES / 4) + four] = slope(t, i, j + 2, s[2], pulled[2], all, mean);
    slopes[(at + 3) * (QUERIES / 4) + four] = slope(t, i, j + 3, s[3], pulled[3], all, mean);
    for (var span = 0u; span < SPANS; span++) {
      for (var begin = 0u; begin < KEYS && key + begin < end; begin += PIECE) {
        stage_keys(t, key + begin, t.column + span * COLUMNS, lane);
        workgroupBarrier();
        for (var n = 0u; n < PIECE; n++) {
          rows[span] += outer(slopes[(begin + n) * (QUERIES / 4) + four],
                              staged[n * ACROSS + lane % ACROSS]);
        }
        workgroupBarrier();
      }
    }
  }
  for (var span = 0u; span < SPANS; span++) {
    for (var n = 0u; n < 4; n++) {
      let c = t.column + span * COLUMNS + lane % ACROSS * 4 + n;
      let column = rows[span][n];
      for (var m = 0u; m < 4; m++) { put(t, i + m, c, column[m]); }
    }
  }
}
