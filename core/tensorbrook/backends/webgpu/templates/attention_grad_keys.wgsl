// The gradients of attention's keys and values, dk and dv: as attention.wgsl, but for some keys of a
// head block of queries by block of queries. The probabilities are made again from lse. g is the
// gradient of out, delta (batch, t_q, heads) the sums of g * out, less the gradient of lse. One
// workgroup makes at most SPANS * COLUMNS columns of dk and as many of dv.

alias element = f32;

override HEADS: u32 = 1;
override T_Q: u32 = 1;
override T_K: u32 = 1;
override D: u32 = 1;
override D_V: u32 = 1;
override CAUSAL: bool = false;
override SCALE: f32 = 1.0;
// Workgroups with something to do; how many of them share a row; times COLUMNS, what each makes of
// it.
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
@group(0) @binding(2) var<storage, read> g: array<element>;
@group(0) @binding(3) var<storage, read> lse: array<f32>;
// if MASKED
@group(0) @binding(4) var<storage, read> mask: array<u32>;
// end
// if DK
@group(0) @binding(5) var<storage, read> v: array<element>;
@group(0) @binding(6) var<storage, read> delta: array<f32>;
@group(0) @binding(7) var<storage, read_write> dk: array<element>;
// end
// if DV
@group(0) @binding(8) var<storage, read_write> dv: array<element>;
// end

// All scores of a query whose lse lies below are hidden.
const ALL_HIDDEN = -1e37;
const LOG2_E = 1.4426950408889634;

// Invocations stand in ACROSS columns; each has four keys, and four queries or columns of dk or dv.
const LANES = 128u;
const ACROSS = 16u;
const KEYS = LANES / ACROSS * 4;     // of a workgroup
const QUERIES = ACROSS * 4;          // of a block
const COLUMNS = ACROSS * 4;          // of dk or dv, made at once
const PIECE = 16u;                   // of d or d_v, or of a block's queries, staged at once
const BLOCKS = (T_K + KEYS - 1) / KEYS;

// Rows of the staged pieces are a vector longer than need be, against bank conflicts.
const K_ROW = KEYS / 4 + 1;
const Q_ROW = QUERIES / 4 + 1;
const OF_QUERIES = PIECE * K_ROW;
var<workgroup> staged: array<vec4f, OF_QUERIES + PIECE * Q_ROW>;
// The probabilities, then the gradients of the scores; four keys side by side.
var<workgroup> weights: array<vec4f, QUERIES * KEYS / 4>;

// What a workgroup does: keys from `key`, columns from `column`, of a head of a batch item.
struct Task { batch: u32, head: u32, key: u32, column: u32 }

fn task_of(unit: u32) -> Task {
  let item = unit / SPLITS / BLOCKS;
  return Task(item / HEADS, item % HEADS, unit / SPLITS % BLOCKS * KEYS,
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

// Of k and q what lies from x on in the rows of the keys and queries.
fn stage_scored(t: Task, query: u32, x: u32, lane: u32) {
  let i = lane % PIECE;
  for (var four = lane / PIECE; four < KEYS / 4; four += LANES / PIECE) {
    let at = t.key + four * 4;
    staged[i * K_ROW + four] = vec4f(k_at(t, at, x + i), k_at(t, at + 1, x + i),
                                     k_at(t, at + 2, x + i), k_at(t, at + 3, x + i));
  }
  for (var four = lane / PIECE; four < QUERIES / 4; four += LANES / PIECE) {
    let at = query + four * 4;
    staged[OF_QUERIES + i * Q_ROW + four] = vec4f(q_at(t, at, x + i), q_at(t, at + 1, x + i),
                                                  q_at(t, at + 2, x + i), q_at(t, at + 3, x + i));
  }
}

fn outer(x: vec4f, y: vec4f) -> mat4x4f {
  return mat4x4f(x * y.x, x * y.y, x * y.z, x * y.w);
}

// What a staged piece adds to the products of four keys with four queries.
fn products(lane: u32) -> mat4x4f {
  var s = mat4x4f();
  for (var i = 0u; i < PIECE; i++) {
    s += outer(staged[i * K_ROW + lane / ACROSS], staged[OF_QUERIES + i * Q_ROW + lane % ACROSS]);
  }
  return s;
}

fn score(t: Task, query: u32, lane: u32) -> mat4x4f {
  var s = mat4x4f();
  for (var x = 0u; x < D; x += PIECE) {
    stage_scored(t, query, x, lane);
    workgroupBarrier();
    s += products(lane);
    workgroupBarrier();
  }
  return s;
}

// Whether a score moves: query and key are there, and the one may see the other.
fn seen(t: Task, i: u32, j: u32) -> bool {
  let there = (i < T_Q) & (j < T_K) & !(CAUSAL & (j > i));
  // if MASKED
  let at = t.batch * MASK_BATCH + t.head * MASK_HEAD + i * MASK_Q + j * MASK_K;
  return there & (mask[select(0u, at, there)] != 0);
  // else
  return there;
  // end
}

fn row_of(t: Task, i: u32) -> u32 {
  return (t.batch * T_Q + min(i, max(T_Q, 1) - 1)) * HEADS + t.head;
}

// The probabilities of four keys for the query i, as far as the scores `s` move them.
fn moved(t: Task, i: u32, j: u32, s: vec4f) -> vec4f {
  let all = lse[row_of(t, i)];
  let moving = vec4<bool>(seen(t, i, j), seen(t, i, j + 1), seen(t, i, j + 2), seen(t, i, j + 3));
  return select(vec4f(), exp2(s * (SCALE * LOG2_E) - all * LOG2_E),
                moving & vec4<bool>(all >= ALL_HIDDEN));
}
// if DV

fn stage_gradients(t: Task, query: u32, column: u32, lane: u32) {
  let c = column + lane % ACROSS * 4;
  for (var i = lane / ACROSS; i < PIECE; i += LANES / ACROSS) {
    staged[i * ACROSS + lane % ACROSS] = vec4f(g_at(t, query + i, c), g_at(t, query + i, c + 1),
                                               g_at(t, query + i, c + 2),
                                               g_at(t, query + i, c + 3));
  }
}

// The probabilities of four keys: a query from which the mask hides all keys takes all alike.
fn taken(t: Task, i: u32, j: u32, moved: vec4f) -> vec4f {
  // if MASKED
  let alike = (i < T_Q) & (lse[row_of(t, i)] < ALL_HIDDEN);
  let keys = select(T_K, min(T_K, i + 1), CAUSAL);
  let of_keys = vec4u(j, j + 1, j + 2, j + 3) < vec4u(keys);
  return select(moved, select(vec4f(), vec4f(1 / f32(keys)), of_keys), alike);
  // else
  return moved;
  // end
}

fn put_dv(t: Task, j: u32, c: u32, value: f32) {
  if (j < T_K && c < D_V) {
    dv[((t.batch * T_K + j) * HEADS + t.head) * D_V + c] = element(value);
  }
}
// end
// if DK

fn v_at(t: Task, j: u32, x: u32) -> f32 {
  let inside = (j < T_K) & (x < D_V);
  let at = ((t.batch * T_K + j) * HEADS + t.head) * D_V + x;
  return select(0.0, f32(v[select(0u, at, inside)]), inside);
}

// Of v and g what lies from x on in the rows of the keys and queries.
fn stage_valued(t: Task, query: u32, x: u32, lane: u32) {
  let i = lane % PIECE;
  for (var four = lane / PIECE; four < KEYS / 4; four += LANES / PIECE) {
    let at = t.key + four * 4;
    staged[i * K_ROW + four] = vec4f(v_at(t, at, x + i), v_at(t, at + 1, x + i),
                                     v_at(t, at + 2, x + i), v_at(t, at + 3, x + i));
  }
  for (var four = lane / PIECE; four < QUERIES / 4; four += LANES / PIECE) {
    let at = query + four * 4;
    staged[OF_QUERIES + i * Q_ROW + four] = vec4f(g_at(t, at, x + i), g_at(t, at + 1, x + i),
                                                  g_at(t, at + 2, x + i), g_at(t, at + 3, x + i));
  }
}

// Products of four values with the gradients of four rows of out.
fn pull(t: Task, query: u32, lane: u32) -> mat4x4f {
  var s = mat4x4f();
  for (var x = 0u; x < D_V; x += PIECE) {
    stage_valued(t, query, x, lane);
    workgroupBarrier();
    s += products(lane);
    workgroupBarrier();
  }
  return s;
}

// The gradient of the scores of four keys and the query i.
fn slope(t: Task, i: u32, moved: vec4f, pulled: vec4f) -> vec4f {
  return moved * (pulled - delta[row_of(t, i)]) * SCALE;
}

fn stage_queries(t: Task, query: u32, column: u32, lane: u32) {
  let c = column + lane % ACROSS * 4;
  for (var i = lane / ACROSS; i < PIECE; i += LANES / ACROSS) {
    staged[i * ACROSS + lane % ACROSS] = vec4f(q_at(t, query + i, c), q_at(t, query + i, c + 1),
                                               q_at(t, query + i, c + 2),
                                               q_at(t, query + i, c + 3));
  }
}

fn put_dk(t: Task, j: u32, c: u32, value: f32) {
  if (j < T_K && c < D) { dk[((t.batch * T_K + j) * HEADS + t.head) * D + c] = element(value); }
}
// end

// What a staged piece of queries' rows adds to four columns of four keys, with the weights of the
// queries from `begin` of the block on.
fn weighted(begin: u32, lane: u32) -> mat4x4f {
  var sum = mat4x4f();
  for (var n = 0u; n < PIECE; n++) {
    sum += outer(weights[(begin + n) * (KEYS / 4) + lane / ACROSS],
                 staged[n * ACROSS + lane % ACROSS]);
  }
  return sum;
}

@compute @workgroup_size(LANES)
fn main(@builtin(workgroup_id) group: vec3u, @builtin(num_workgroups) groups: vec3u,
        @builtin(local_invocation_index) lane: u32) {
  let unit = group.y * groups.x + group.x;
  if (unit >= UNITS) { return; }
  let t = task_of(unit);
  let j = t.key + lane / ACROSS * 4;
  let at = lane % ACROSS * 4;
  // if DK
  var dk_rows: array<mat4x4f, SPANS>;
  // end
  // if DV
  var dv_rows: array<mat4x4f, SPANS>;
  // end
  for (var query = select(0u, t.key, CAUSAL); query < T_Q; query += QUERIES) {
    let s = score(t, query, lane);
    let i = query + at;
    var p = mat4x4f(moved(t, i, j, s[0]), moved(t, i + 1, j, s[1]), moved(t, i + 2, j, s[2]),
                    moved(t, i + 3, j, s[3]));
    // if DV
    for (var n = 0u; n < 4; n++) {
      weights[(at + n) * (KEYS / 4) + lane / ACROSS] = taken(t, i + n, j, p[n]);
    }
    for (var span = 0u; span < SPANS; span++) {
      for (var begin = 0u; begin < QUERIES && query + begin < T_Q; begin += PIECE) {
        stage_gradients(t, query + begin, t.column + span * COLUMNS, lane);
        workgroupBarrier();
        dv_rows[span] += weighted(begin, lane);
        workgroupBarrier();
      }
    }
    // end
    // if DK
    var pulled = pull(t, query, lane);
    for (var n = 0u; n < 4; n++) {
      weights[(at + n) * (KEYS / 4) + lane / ACROSS] = slope(t, i + n, p[n], pulled[n]);
    }
    for (var span = 0u; span < SPANS; span++) {
      for (var begin = 0u; begin < QUERIES && query + begin < T_Q; begin += PIECE) {
        stage_queries(t, query + begin, t.column + span * COLUMNS, lane);
        workgroupBarrier();
        dk_rows[span] += weighted(begin, lane);
        workgroupBarrier();
      }
    }
    // end
  }
  for (var span = 0u; span < SPANS; span++) {
    for (var n = 0u; n < 16; n++) {
      let c = t.column + span * COLUMNS + at + n / 4;
      // if DK
      put_dk(t, j + n % 4, c, dk_rows[span][n / 4][n % 4]);
      // end
      // if DV
      put_dv(t, j + n % 4, c, dv_rows[span][n / 4][n % 4]);
      // end
    }
  }
}
