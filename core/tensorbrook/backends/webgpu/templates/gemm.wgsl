// Tiled GEMM: out[i] = op(a[i]) @ op(b[i]). A workgroup computes a TILE_M x TILE_N tile of one
// product, or its partial sums over one of SPLIT_K splits of k. Sums in f32, in the order of k.
// Tolerance 1e-5, or 1e-4 for sums of thousands of equal products, because all of their rounding
// errors have one sign.
//
// a[i] is (M, K), or (K, M) with TRANSPOSE_A; b[i] is (K, N), or (N, K) with TRANSPOSE_B. `out` has
// a complete result for each split. The rows of buffers with ..._IS_VEC4 are whole vec4s. UNROLLED
// makes all indices of the inner loop constants: faster on hardware, but slow to compile.

// include "include/gemm_params.wgsl"

override TRANSPOSE_A: bool;
override TRANSPOSE_B: bool;
override SPLIT_K: u32;
override K_PER_SPLIT: u32;               // a multiple of TILE_K if SPLIT_K > 1

override TILE_M: u32;
override TILE_N: u32;
override MICROTILE_ROWS_VEC4: u32;       // an invocation computes 4 * MICROTILE_ROWS_VEC4 rows
override MICROTILE_COLS_VEC4: u32;       // of 4 * MICROTILE_COLS_VEC4 columns
override TILE_K: u32;                    // length of k in workgroup memory at a time

const LANES_X = TILE_N / (4u * MICROTILE_COLS_VEC4);    // a multiple of 8
const LANES_Y = TILE_M / (4u * MICROTILE_ROWS_VEC4);    // a multiple of 4
const LANES = LANES_X * LANES_Y;         // TILE_M + TILE_N: each lane loads one 4 x 4 block
const SLOTS = (TILE_M + TILE_N) / 4u;

const TILES_Y = (M + TILE_M - 1u) / TILE_M;
const TILES_X = (N + TILE_N - 1u) / TILE_N;
const TILES = TILES_Y * TILES_X;

const HEIGHT_A = select(M, K, TRANSPOSE_A);
const WIDTH_A = select(K, M, TRANSPOSE_A);
const HEIGHT_B = select(K, N, TRANSPOSE_B);
const WIDTH_B = select(N, K, TRANSPOSE_B);
// If tiles divide an operand exactly, its loads need no bounds checks.
const EXACT_A = M % TILE_M == 0u && K % TILE_K == 0u;
const EXACT_B = N % TILE_N == 0u && K % TILE_K == 0u;

// if A_IS_VEC4
@group(0) @binding(0) var<storage, read> a: array<vec4<first_type>>;
// else
@group(0) @binding(0) var<storage, read> a: array<first_type>;
// end
// if B_IS_VEC4
@group(0) @binding(1) var<storage, read> b: array<vec4<second_type>>;
// else
@group(0) @binding(1) var<storage, read> b: array<second_type>;
// end
// if OUT_IS_VEC4
@group(0) @binding(2) var<storage, read_write> out: array<vec4<sum_type>>;
// else
@group(0) @binding(2) var<storage, read_write> out: array<sum_type>;
// end

// For each k the tile's rows of a, then its columns of b, as vec4s. Eight neighbouring lanes read
// 128 contiguous bytes, and the lanes below read the same: no bank conflicts.
var<workgroup> tile: array<array<vec4f, SLOTS>, TILE_K>;

// include "include/operand_load.wgsl"

// Four elements of a row of a[item], from `column`; zeros out of bounds.
fn load_a(item: u32, row: u32, column: u32) -> vec4f {
  var elements = vec4f();
  let index = item * STRIDE_A + row * WIDTH_A + column;
  // if A_IS_VEC4
  if (EXACT_A || (row < HEIGHT_A && column < WIDTH_A)) { elements = vec4f(a[index / 4u]); }
  // else
  // unroll
  for (var i = 0u; i < 4u; i++) {
    if (EXACT_A || (row < HEIGHT_A && column + i < WIDTH_A)) { elements[i] = f32(a[index + i]); }
  }
  // end
  return load_first(elements);
}

fn load_b(item: u32, row: u32, column: u32) -> vec4f {
  var elements = vec4f();
  let index = item * STRIDE_B + row * WIDTH_B + column;
  // if B_IS_VEC4
  if (EXACT_B || (row < HEIGHT_B && column < WIDTH_B)) { elements = vec4f(b[index / 4u]); }
  // else
  // unroll
  for (var i = 0u; i < 4u; i++) {
    if (EXACT_B || (row < HEIGHT_B && column + i < WIDTH_B)) { elements[i] = f32(b[index + i]); }
  }
  // end
  return load_second(elements);
}

// The block that an invocation loads, in memory layout: four k by four rows of a[item] or four
// columns of b[item], or transposed.
fn load_block(lane: u32, item: u32, row: u32, column: u32, k: u32) -> mat4x4f {
  if (lane < TILE_M) {
    let y = select(row, k, TRANSPOSE_A);
    let x = select(k, row, TRANSPOSE_A);
    return mat4x4f(load_a(item, y, x), load_a(item, y + 1u, x), load_a(item, y + 2u, x),
                   load_a(item, y + 3u, x));
  }
  let y = select(k, column, TRANSPOSE_B);
  let x = select(column, k, TRANSPOSE_B);
  return mat4x4f(load_b(item, y, x), load_b(item, y + 1u, x), load_b(item, y + 2u, x),
                 load_b(item, y + 3u, x));
}

// if OUT_IS_VEC4
fn store_vec4(row: u32, column: u32, values: vec4f) {
  if (column < N) { out[(row * N + column) / 4u] = vec4<sum_type>(values); }
}
// else
fn store_vec4(row: u32, column: u32, values: vec4f) {
  // unroll
  for (var i = 0u; i < 4u; i++) {
    if (column + i < N) { store(row, column + i, values[i]); }
  }
}

fn store(row: u32, column: u32, value: f32) {
  out[row * N + column] = sum_type(value);
}
// end

@compute @workgroup_size(LANES)
fn main(@builtin(workgroup_id) group: vec3u, @builtin(num_workgroups) groups: vec3u,
        @builtin(local_invocation_index) lane: u32) {
  let index = group.y * groups.x + group.x;
  if (index >= SPLIT_K * BATCH * TILES) { return; }
  let split = index / (TILES * BATCH);
  let item = index / TILES % BATCH;
  let top = index % TILES / TILES_X * TILE_M;
  let left = index % TILES_X * TILE_N;

  // 32 lanes load 8 blocks of rows (or columns) at 4 blocks of k, and compute 4 x 8 blocks.
  let slot = lane % 8u + lane / 32u * 8u;
  let block_k = lane / 8u % 4u * 4u;
  let lane_x = lane % 8u + lane / 32u % (LANES_X / 8u) * 8u;
  let lane_y = lane / 8u % 4u + lane / (4u * LANES_X) * 4u;
  let row = top + slot * 4u;
  let column = left + slot * 4u - TILE_M;

  var sums: array<array<vec4f, MICROTILE_COLS_VEC4>, 4u * MICROTILE_ROWS_VEC4>;
  let end = min(K, (split + 1u) * K_PER_SPLIT);
  var next = load_block(lane, item, row, column, split * K_PER_SPLIT + block_k);
  for (var begin = split * K_PER_SPLIT; begin < end; begin += TILE_K) {
    workgroupBarrier();
    var block = next;
    if (select(TRANSPOSE_B, !TRANSPOSE_A, lane < TILE_M)) { block = transpose(next); }
    // unroll
    for (var i = 0u; i < 4u; i++) { tile[block_k + i][slot] = block[i]; }
    workgroupBarrier();
    // Prefetch the next block; the last iteration loads its own again.
    let next_begin = select(begin, begin + TILE_K, begin + TILE_K < end);
    next = load_block(lane, item, row, column, next_begin + block_k);
    // if UNROLLED
    // unroll
    // end
    for (var k = 0u; k < TILE_K; k++) {
      var rows: array<vec4f, MICROTILE_ROWS_VEC4>;
      var columns: array<vec4f, MICROTILE_COLS_VEC4>;
      // unroll
      for (var i = 0u; i < MICROTILE_ROWS_VEC4; i++) { rows[i] = tile[k][lane_y + i * LANES_Y]; }
      // unroll
      for (var j = 0u; j < MICROTILE_COLS_VEC4; j++) {
        columns[j] = tile[k][TILE_M / 4u + lane_x + j * LANES_X];
      }
      // unroll
      for (var i = 0u; i < MICROTILE_ROWS_VEC4; i++) {
        // unroll
        for (var j = 0u; j < MICROTILE_COLS_VEC4; j++) {
          // unroll
          for (var r = 0u; r < 4u; r++) {
            sums[4u * i + r][j] = fma(vec4f(rows[i][r]), columns[j], sums[4u * i + r][j]);
          }
        }
      }
    }
  }

  for (var r = 0u; r < 4u * MICROTILE_ROWS_VEC4; r++) {
    let y = top + (lane_y + r / 4u * LANES_Y) * 4u + r % 4u;
    if (y >= M) { break; }
    // Sums stay in registers because every index of `sums` is a constant.
    var row_sums: array<vec4f, MICROTILE_COLS_VEC4>;
    // unroll
    for (var i = 0u; i < MICROTILE_ROWS_VEC4; i++) {
      // unroll
      for (var j = 0u; j < 4u; j++) {
        if (r == 4u * i + j) { row_sums = sums[4u * i + j]; }
      }
    }
    // unroll
    for (var j = 0u; j < MICROTILE_COLS_VEC4; j++) {
      store_vec4((split * BATCH + item) * M + y, left + (lane_x + j * LANES_X) * 4u, row_sums[j]);
    }
  }
}
