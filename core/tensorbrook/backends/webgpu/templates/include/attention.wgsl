// What the kernels of attention have in common: q (batch, t_q, heads, d), k (batch, t_k, heads, d)
// and the rest, heads apart. A workgroup has ROWS queries of a head, or keys: its rows. It meets
// the others, keys or queries, block by block: first come the products of rows with others, along d
// or d_v, then what follows from them weighs the others' rows, of which COLUMNS are summed at a
// time.
//
// The module tells by three functions which rows these are, `valued` where they are d_v wide:
//
//   rows_at(t, i, x, valued), others_at(t, j, x, valued)    four rows from i or j on, at x
//   columns_at(t, j, c, valued)                             the row j of the others, four from c on

alias element = f32;

override HEADS: u32;
override T_Q: u32;
override T_K: u32;
override D: u32;
override D_V: u32;
override CAUSAL: bool;
override SCALE: f32;
// if MASKED
override MASK_BATCH: u32;
override MASK_HEAD: u32;
override MASK_Q: u32;
override MASK_K: u32;
// end
override ROWS: u32;
override COLUMNS: u32;
override BLOCKS: u32;       // of ROWS, of a head
// Workgroups with something to do; how many of them share a row of the result; times COLUMNS, what
// each makes of it.
override UNITS: u32;
override SPLITS: u32;
override SPANS: u32;

@group(0) @binding(0) var<storage, read> q: array<element>;
@group(0) @binding(1) var<storage, read> k: array<element>;
// if MASKED
@group(0) @binding(2) var<storage, read> mask: array<u32>;
// end

const LOG2_E = 1.4426950408889634;

// Invocations stand in ACROSS columns; each has four rows, and four others or columns of a result.
const ACROSS = COLUMNS / 4;
const LANES = ROWS / 4 * ACROSS;
const OTHERS = ACROSS * 4;           // of a block
const PIECE = 16u;                   // of d or d_v, or of a block, staged at once

// Staged rows are a vector longer than need be, against bank conflicts.
const ROWS_PITCH = ROWS / 4 + 1;
const OTHERS_PITCH = OTHERS / 4 + 1;
const OF_OTHERS = PIECE * ROWS_PITCH;
var<workgroup> staged: array<vec4f, OF_OTHERS + PIECE * OTHERS_PITCH>;
var<workgroup> weights: array<vec4f, OTHERS * ROWS / 4>;   // four rows side by side

// What a workgroup does: rows from `row`, columns from `column`, of a head of a batch item.
struct Task { batch: u32, head: u32, row: u32, column: u32 }

fn task_of(unit: u32) -> Task {
  let item = unit / SPLITS / BLOCKS;
  return Task(item / HEADS, item % HEADS, unit / SPLITS % BLOCKS * ROWS,
              unit % SPLITS * SPANS * COLUMNS);
}

// ── four numbers of a tensor (batch, length, heads, width) ──

// Where they lie: 0 for what is outside.
struct Four { at: vec4u, inside: vec4<bool> }

const NEXT = vec4u(0, 1, 2, 3);

// Below each other, from row i on.
fn down(t: Task, i: u32, length: u32, x: u32, width: u32) -> Four {
  let rows = i + NEXT;
  let inside = (rows < vec4u(length)) & vec4<bool>(x < width);
  let at = ((t.batch * length + rows) * HEADS + t.head) * width + x;
  return Four(select(vec4u(), at, inside), inside);
}

// Side by side, from column x on.
fn across(t: Task, i: u32, length: u32, x: u32, width: u32) -> Four {
  let columns = x + NEXT;
  let inside = vec4<bool>(i < length) & (columns < vec4u(width));
  let at = ((t.batch * length + i) * HEADS + t.head) * width + columns;
  return Four(select(vec4u(), at, inside), inside);
}

fn q_of(p: Four) -> vec4f {
  let four = vec4<element>(q[p.at.x], q[p.at.y], q[p.at.z], q[p.at.w]);
  return select(vec4f(), vec4f(four), p.inside);
}

fn k_of(p: Four) -> vec4f {
  let four = vec4<element>(k[p.at.x], k[p.at.y], k[p.at.z], k[p.at.w]);
  return select(vec4f(), vec4f(four), p.inside);
}

// ── products ──

fn outer(x: vec4f, y: vec4f) -> mat4x4f {
  return mat4x4f(x * y.x, x * y.y, x * y.z, x * y.w);
}

fn stage(t: Task, other: u32, x: u32, valued: bool, lane: u32) {
  let i = lane % PIECE;
  for (var four = lane / PIECE; four < ROWS / 4; four += LANES / PIECE) {
    staged[i * ROWS_PITCH + four] = rows_at(t, t.row + four * 4, x + i, valued);
  }
  for (var four = lane / PIECE; four < OTHERS / 4; four += LANES / PIECE) {
    staged[OF_OTHERS + i * OTHERS_PITCH + four] = others_at(t, other + four * 4, x + i, valued);
  }
}

// Products of four rows with four of the others from `other` on, one of these after the other.
fn products(t: Task, other: u32, width: u32, valued: bool, lane: u32) -> mat4x4f {
  var s = mat4x4f();
  for (var x = 0u; x < width; x += PIECE) {
    stage(t, other, x, valued, lane);
    workgroupBarrier();
    for (var i = 0u; i < PIECE; i++) {
      s += outer(staged[i * ROWS_PITCH + lane / ACROSS],
                 staged[OF_OTHERS + i * OTHERS_PITCH + lane % ACROSS]);
    }
    workgroupBarrier();
  }
  return s;
}

// What four of a block's others weigh for four rows.
fn put_weights(s: mat4x4f, lane: u32) {
  let at = lane % ACROSS * ROWS + lane / ACROSS;
  // unroll
  for (var n = 0u; n < 4; n++) { weights[at + n * ROWS / 4] = s[n]; }
}

// What some of the others, PIECE of them from `begin` of the block at `other` on, add to four
// columns of four rows: one column after the other.
fn weighted(t: Task, other: u32, begin: u32, column: u32, valued: bool, lane: u32) -> mat4x4f {
  for (var i = lane / ACROSS; i < PIECE; i += LANES / ACROSS) {
    staged[i * ACROSS + lane % ACROSS] =
        columns_at(t, other + begin + i, column + lane % ACROSS * 4, valued);
  }
  workgroupBarrier();
  var sum = mat4x4f();
  for (var n = 0u; n < PIECE; n++) {
    sum += outer(weights[(begin + n) * (ROWS / 4) + lane / ACROSS],
                 staged[n * ACROSS + lane % ACROSS]);
  }
  workgroupBarrier();
  return sum;
}
