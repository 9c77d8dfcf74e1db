// Block-wise attention, common to all kernels: q (batch, t_q, heads, d), k (batch, t_k, heads, d)
// and the other tensors, heads interleaved. A workgroup has BLOCK_ROWS queries of a head, or keys:
// its rows. It processes the other side, keys or queries, in blocks: first the dot products of rows
// and others along d or d_v, then the sum of the others' vectors, weighted by a function of the dot
// products, BLOCK_COLUMNS columns at a time.
//
// The module defines the tensors of rows and others; with `is_value` they have width d_v:
//
//   load_rows(t, i, x, is_value)         column x of the four rows from i
//   load_others(t, j, x, is_value)       column x of the four others from j
//   load_columns(t, j, c, is_value)      the four columns from c of other j

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
override BLOCK_ROWS: u32;
override BLOCK_COLUMNS: u32;
override ROW_BLOCKS: u32;                // of a head
// Workgroups with a task; workgroups that share a block of rows; column blocks of each workgroup.
override TASKS: u32;
override COLUMN_SPLITS: u32;
override COLUMN_BLOCKS: u32;

@group(0) @binding(0) var<storage, read> q: array<element>;
@group(0) @binding(1) var<storage, read> k: array<element>;
// if MASKED
@group(0) @binding(2) var<storage, read> mask: array<u32>;
// end

const LOG2_E = 1.4426950408889634;

// A lane computes 4 x 4 elements: four rows by four others, or by four columns of a result.
const LANES_X = BLOCK_COLUMNS / 4;
const LANES = BLOCK_ROWS / 4 * LANES_X;
const BLOCK_OTHERS = LANES_X * 4;
const CHUNK = 16u;                   // length of d or d_v, or of a block, in workgroup memory

// Padded by a vec4 against bank conflicts.
const ROWS_PITCH = BLOCK_ROWS / 4 + 1;
const OTHERS_PITCH = BLOCK_OTHERS / 4 + 1;
const OTHERS_BEGIN = CHUNK * ROWS_PITCH;
var<workgroup> tile: array<vec4f, OTHERS_BEGIN + CHUNK * OTHERS_PITCH>;
var<workgroup> weights: array<vec4f, BLOCK_OTHERS * BLOCK_ROWS / 4>;   // vec4s of four rows

// The part of the result that a workgroup computes: rows from `row` and columns from `column`.
struct Task { batch: u32, head: u32, row: u32, column: u32 }

fn task_of(task: u32) -> Task {
  let item = task / COLUMN_SPLITS / ROW_BLOCKS;
  return Task(item / HEADS, item % HEADS, task / COLUMN_SPLITS % ROW_BLOCKS * BLOCK_ROWS,
              task % COLUMN_SPLITS * COLUMN_BLOCKS * BLOCK_COLUMNS);
}

// ── four elements of a tensor (batch, length, heads, width) ──

// Their indices, which are 0 out of bounds.
struct Offsets { index: vec4u, inside: vec4<bool> }

const NEXT = vec4u(0, 1, 2, 3);

// Column x of the four rows from i.
fn column_offsets(t: Task, i: u32, length: u32, x: u32, width: u32) -> Offsets {
  let rows = i + NEXT;
  let inside = (rows < vec4u(length)) & vec4<bool>(x < width);
  let index = ((t.batch * length + rows) * HEADS + t.head) * width + x;
  return Offsets(select(vec4u(), index, inside), inside);
}

// The four columns from x of row i.
fn row_offsets(t: Task, i: u32, length: u32, x: u32, width: u32) -> Offsets {
  let columns = x + NEXT;
  let inside = vec4<bool>(i < length) & (columns < vec4u(width));
  let index = ((t.batch * length + i) * HEADS + t.head) * width + columns;
  return Offsets(select(vec4u(), index, inside), inside);
}

fn load_q(p: Offsets) -> vec4f {
  let elements = vec4<element>(q[p.index.x], q[p.index.y], q[p.index.z], q[p.index.w]);
  return select(vec4f(), vec4f(elements), p.inside);
}

fn load_k(p: Offsets) -> vec4f {
  let elements = vec4<element>(k[p.index.x], k[p.index.y], k[p.index.z], k[p.index.w]);
  return select(vec4f(), vec4f(elements), p.inside);
}

// ── products ──

fn outer(x: vec4f, y: vec4f) -> mat4x4f {
  return mat4x4f(x * y.x, x * y.y, x * y.z, x * y.w);
}

fn load_tile(t: Task, other: u32, x: u32, is_value: bool, lane: u32) {
  let i = lane % CHUNK;
  for (var j = lane / CHUNK; j < BLOCK_ROWS / 4; j += LANES / CHUNK) {
    tile[i * ROWS_PITCH + j] = load_rows(t, t.row + j * 4, x + i, is_value);
  }
  for (var j = lane / CHUNK; j < BLOCK_OTHERS / 4; j += LANES / CHUNK) {
    tile[OTHERS_BEGIN + i * OTHERS_PITCH + j] = load_others(t, other + j * 4, x + i, is_value);
  }
}

// The dot products of the lane's four rows with its four of the others from `other`; one column of
// the matrix for each of the others.
fn dot_products(t: Task, other: u32, width: u32, is_value: bool, lane: u32) -> mat4x4f {
  var s = mat4x4f();
  for (var x = 0u; x < width; x += CHUNK) {
    load_tile(t, other, x, is_value, lane);
    workgroupBarrier();
    for (var i = 0u; i < CHUNK; i++) {
      s += outer(tile[i * ROWS_PITCH + lane / LANES_X],
                 tile[OTHERS_BEGIN + i * OTHERS_PITCH + lane % LANES_X]);
    }
    workgroupBarrier();
  }
  return s;
}

// Store the weights of the lane's four others for its four rows.
fn store_weights(s: mat4x4f, lane: u32) {
  let index = lane % LANES_X * BLOCK_ROWS + lane / LANES_X;
  // unroll
  for (var n = 0u; n < 4; n++) { weights[index + n * BLOCK_ROWS / 4] = s[n]; }
}

// The weighted sum of CHUNK others from `begin` of the block at `other`, in the lane's four rows
// and four columns from `column`; one column of the matrix for each column.
fn weighted_sum(t: Task, other: u32, begin: u32, column: u32, is_value: bool, lane: u32)
    -> mat4x4f {
  for (var i = lane / LANES_X; i < CHUNK; i += LANES / LANES_X) {
    tile[i * LANES_X + lane % LANES_X] =
        load_columns(t, other + begin + i, column + lane % LANES_X * 4, is_value);
  }
  workgroupBarrier();
  var sum = mat4x4f();
  for (var n = 0u; n < CHUNK; n++) {
    sum += outer(weights[(begin + n) * (BLOCK_ROWS / 4) + lane / LANES_X],
                 tile[n * LANES_X + lane % LANES_X]);
  }
  workgroupBarrier();
  return sum;
}
