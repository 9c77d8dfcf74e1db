// out[i] = op(a[i]) @ op(b[i]): a workgroup makes a tile of ROWS x COLUMNS of one product, or what
// one of PARTS parts of k adds to it. Sums in f32, in the order of k. Tolerance 1e-5, or 1e-4 where
// thousands of equal products make every rounding go the same way.
//
// a[i] is (M, K), or (K, M) with TRANSPOSE_A; b[i] is (K, N), or (N, K) with TRANSPOSE_B. Parts of
// k follow each other in `out`, each a whole result. Buffers FOUR_... have rows of whole fours.
// NUMBERED takes long to compile and is what devices need that are fast.

// include "include/gemm_params.wgsl"

override TRANSPOSE_A: bool;
override TRANSPOSE_B: bool;
override PARTS: u32;
override SPLIT: u32;                     // of K; a multiple of DEPTH where PARTS > 1

override ROWS: u32;
override COLUMNS: u32;
override TALL: u32;                      // an invocation sums 4 * TALL rows
override WIDE: u32;                      // of 4 * WIDE columns
override DEPTH: u32;                     // places of k that lie in workgroup memory at a time

const ACROSS = COLUMNS / (4u * WIDE);    // invocations side by side: a multiple of 8
const DOWN = ROWS / (4u * TALL);         // and one below the other: a multiple of 4
const LANES = ACROSS * DOWN;             // ROWS + COLUMNS: each loads one block of 4 x 4
const SLOTS = (ROWS + COLUMNS) / 4u;

const TILES_DOWN = (M + ROWS - 1u) / ROWS;
const TILES_ACROSS = (N + COLUMNS - 1u) / COLUMNS;
const TILES = TILES_DOWN * TILES_ACROSS;

const HEIGHT_A = select(M, K, TRANSPOSE_A);
const WIDTH_A = select(K, M, TRANSPOSE_A);
const HEIGHT_B = select(K, N, TRANSPOSE_B);
const WIDTH_B = select(N, K, TRANSPOSE_B);
// Where tiles fit exactly, no load needs to ask whether it is inside.
const WHOLE_A = M % ROWS == 0u && K % DEPTH == 0u;
const WHOLE_B = N % COLUMNS == 0u && K % DEPTH == 0u;

// if FOUR_A
@group(0) @binding(0) var<storage, read> a: array<vec4<first_type>>;
// else
@group(0) @binding(0) var<storage, read> a: array<first_type>;
// end
// if FOUR_B
@group(0) @binding(1) var<storage, read> b: array<vec4<second_type>>;
// else
@group(0) @binding(1) var<storage, read> b: array<second_type>;
// end
// if FOUR_OUT
@group(0) @binding(2) var<storage, read_write> out: array<vec4<sum_type>>;
// else
@group(0) @binding(2) var<storage, read_write> out: array<sum_type>;
// end

// For each place of k the tile's rows of a, then its columns of b, in fours. Eight invocations side
// by side read 128 bytes that follow each other, those below them the same: no bank is asked twice.
var<workgroup> tile: array<array<vec4f, SLOTS>, DEPTH>;

// include "include/operand_load.wgsl"

// Four numbers of a row of a[item], from `column` on; zeros outside.
fn four_of_a(item: u32, row: u32, column: u32) -> vec4f {
  var four = vec4f();
  let at = item * STRIDE_A + row * WIDTH_A + column;
  // if FOUR_A
  if (WHOLE_A || (row < HEIGHT_A && column < WIDTH_A)) { four = vec4f(a[at / 4u]); }
  // else
  // unroll
  for (var i = 0u; i < 4u; i++) {
    if (WHOLE_A || (row < HEIGHT_A && column + i < WIDTH_A)) { four[i] = f32(a[at + i]); }
  }
  // end
  return taken_first(four);
}

fn four_of_b(item: u32, row: u32, column: u32) -> vec4f {
  var four = vec4f();
  let at = item * STRIDE_B + row * WIDTH_B + column;
  // if FOUR_B
  if (WHOLE_B || (row < HEIGHT_B && column < WIDTH_B)) { four = vec4f(b[at / 4u]); }
  // else
  // unroll
  for (var i = 0u; i < 4u; i++) {
    if (WHOLE_B || (row < HEIGHT_B && column + i < WIDTH_B)) { four[i] = f32(b[at + i]); }
  }
  // end
  return taken_second(four);
}

// What an invocation brings into the tile, as it lies in memory: four places of k for four rows of
// a[item] or four columns of b[item], or the other way around.
fn block(lane: u32, item: u32, row: u32, column: u32, k: u32) -> mat4x4f {
  if (lane < ROWS) {
    let down = select(row, k, TRANSPOSE_A);
    let across = select(k, row, TRANSPOSE_A);
    return mat4x4f(four_of_a(item, down, across), four_of_a(item, down + 1u, across),
                   four_of_a(item, down + 2u, across), four_of_a(item, down + 3u, across));
  }
  let down = select(k, column, TRANSPOSE_B);
  let across = select(column, k, TRANSPOSE_B);
  return mat4x4f(four_of_b(item, down, across), four_of_b(item, down + 1u, across),
                 four_of_b(item, down + 2u, across), four_of_b(item, down + 3u, across));
}

// if FOUR_OUT
fn put_four(row: u32, column: u32, four: vec4f) {
  if (column < N) { out[(row * N + column) / 4u] = vec4<sum_type>(four); }
}
// else
fn put_four(row: u32, column: u32, four: vec4f) {
  // unroll
  for (var i = 0u; i < 4u; i++) {
    if (column + i < N) { put(row, column + i, four[i]); }
  }
}

fn put(row: u32, column: u32, value: f32) {
  out[row * N + column] = sum_type(value);
}
// end

@compute @workgroup_size(LANES)
fn main(@builtin(workgroup_id) group: vec3u, @builtin(num_workgroups) groups: vec3u,
        @builtin(local_invocation_index) lane: u32) {
  let index = group.y * groups.x + group.x;
  if (index >= PARTS * BATCH * TILES) { return; }
  let part = index / (TILES * BATCH);
  let item = index / TILES % BATCH;
  let top = index % TILES / TILES_ACROSS * ROWS;
  let left = index % TILES_ACROSS * COLUMNS;

  // 32 invocations load 8 blocks of rows (or columns) at 4 of k, and sum 4 x 8 blocks of the tile.
  let slot = lane % 8u + lane / 32u * 8u;
  let place = lane / 8u % 4u * 4u;
  let x = lane % 8u + lane / 32u % (ACROSS / 8u) * 8u;
  let y = lane / 8u % 4u + lane / (4u * ACROSS) * 4u;
  let row = top + slot * 4u;
  let column = left + slot * 4u - ROWS;

  var sums: array<array<vec4f, WIDE>, 4u * TALL>;
  let end = min(K, (part + 1u) * SPLIT);
  var next = block(lane, item, row, column, part * SPLIT + place);
  for (var begin = part * SPLIT; begin < end; begin += DEPTH) {
    workgroupBarrier();
    var here = next;
    if (select(TRANSPOSE_B, !TRANSPOSE_A, lane < ROWS)) { here = transpose(next); }
    // unroll
    for (var i = 0u; i < 4u; i++) { tile[place + i][slot] = here[i]; }
    workgroupBarrier();
    // On its way while the sums are made; the last turn loads its own part again.
    let later = select(begin, begin + DEPTH, begin + DEPTH < end);
    next = block(lane, item, row, column, later + place);
    // if NUMBERED
    // unroll
    // end
    for (var k = 0u; k < DEPTH; k++) {
      var fours: array<vec4f, TALL>;
      var others: array<vec4f, WIDE>;
      // unroll
      for (var i = 0u; i < TALL; i++) { fours[i] = tile[k][y + i * DOWN]; }
      // unroll
      for (var j = 0u; j < WIDE; j++) { others[j] = tile[k][ROWS / 4u + x + j * ACROSS]; }
      // unroll
      for (var i = 0u; i < TALL; i++) {
        // unroll
        for (var j = 0u; j < WIDE; j++) {
          // unroll
          for (var r = 0u; r < 4u; r++) {
            sums[4u * i + r][j] = fma(vec4f(fours[i][r]), others[j], sums[4u * i + r][j]);
          }
        }
      }
    }
  }

  for (var r = 0u; r < 4u * TALL; r++) {
    let down = top + (y + r / 4u * DOWN) * 4u + r % 4u;
    if (down >= M) { break; }
    // Sums stay in registers: none is asked for by a number that is not known.
    var line: array<vec4f, WIDE>;
    // unroll
    for (var i = 0u; i < TALL; i++) {
      // unroll
      for (var j = 0u; j < 4u; j++) {
        if (r == 4u * i + j) { line = sums[4u * i + j]; }
      }
    }
    // unroll
    for (var j = 0u; j < WIDE; j++) {
      put_four((part * BATCH + item) * M + down, left + (x + j * ACROSS) * 4u, line[j]);
    }
  }
}
