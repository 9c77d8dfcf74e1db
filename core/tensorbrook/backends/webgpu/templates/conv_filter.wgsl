// Implicit GEMM filter gradient of a convolution: out[tap and channel, column] = the sum over
// pixels of the pixel's window in x, at this tap and channel, times g. A workgroup computes a tile
// of TILE_ROWS taps and channels and TILE_COLUMNS columns, an invocation MICROTILE_ROWS by four of
// it. The sums are long and the results few, so the pixels are split; `out` has a partial result
// for each of SPLIT_K splits. UNROLLED makes all indices of the inner loop constants: faster on
// hardware, but slow to compile.

alias first_type = f32;
alias second_type = f32;
alias sum_type = f32;

// include "include/convolution.wgsl"

// MICROTILE_ROWS / 4
override MICROTILE_ROWS_VEC4: u32;

// if G_IS_VEC4
@group(0) @binding(1) var<storage, read> g: array<vec4<second_type>>;
// else
@group(0) @binding(1) var<storage, read> g: array<second_type>;
// end
// include "include/conv_tile.wgsl"

const_assert 4 * MICROTILE_ROWS_VEC4 == MICROTILE_ROWS;
const ROWS = TAPS_Y * TAPS_X * CHANNELS;
const PIXELS = N * OUT_Y * OUT_X;
const TILE_ROWS_VEC4 = TILE_ROWS / 4;                    // a vec4 has four consecutive rows
const TILES = TILES_X * ((ROWS + TILE_ROWS - 1) / TILE_ROWS);
const PIXELS_PER_SPLIT = (PIXELS + TILE_K * SPLIT_K - 1) / (TILE_K * SPLIT_K) * TILE_K;

var<workgroup> window_tile: array<vec4f, TILE_K * TILE_ROWS_VEC4>;
var<workgroup> grad_tile: array<vec4f, TILE_K * LANES_X>;

// The coordinates of a pixel's window in x, which wrap around above and left of x.
struct Window { image: u32, top: u32, left: u32 }

fn window_of(pixel: u32) -> Window {
  let line = pixel / OUT_X;
  return Window(line / OUT_Y, line % OUT_Y * STRIDE_Y - PADDING_Y,
                pixel % OUT_X * STRIDE_X - PADDING_X);
}

fn window_offset(pixel: u32, row: u32, group: u32) -> Offset {
  let v = window_of(pixel);
  let tap = row / CHANNELS;
  let y = v.top + tap / TAPS_X * DILATION_Y;
  let column = v.left + tap % TAPS_X * DILATION_X;
  return pixel_offset(v.image, y, column, group * CHANNELS + row % CHANNELS,
                      (pixel < PIXELS) & (row < ROWS));
}

// Four rows of a pixel's window.
fn load_window(pixel: u32, row: u32, group: u32) -> vec4f {
  // if X_IS_VEC4
  return load_vec4(window_offset(pixel, row, group));
  // else
  return load_vec4(window_offset(pixel, row, group), window_offset(pixel, row + 1u, group),
                   window_offset(pixel, row + 2u, group), window_offset(pixel, row + 3u, group));
  // end
}

// Four columns of a pixel of g.
// if G_IS_VEC4
fn load_grad(pixel: u32, column: u32, group: u32) -> vec4f {
  let inside = (pixel < PIXELS) & (column < COLUMNS);
  let index = (pixel * OUT_C + group * COLUMNS + column) / 4u;
  return select(vec4f(), load_second(vec4f(g[select(0u, index, inside)])), inside);
}
// else
fn load_grad(pixel: u32, column: u32, group: u32) -> vec4f {
  let columns = vec4u(column, column + 1u, column + 2u, column + 3u);
  let inside = vec4<bool>(pixel < PIXELS) & (columns < vec4u(COLUMNS));
  let indices = select(vec4u(), pixel * OUT_C + group * COLUMNS + columns, inside);
  let elements = vec4f(f32(g[indices.x]), f32(g[indices.y]), f32(g[indices.z]), f32(g[indices.w]));
  return select(vec4f(), load_second(elements), inside);
}
// end

@compute @workgroup_size(LANES)
fn main(@builtin(workgroup_id) group_id: vec3u, @builtin(num_workgroups) groups: vec3u,
        @builtin(local_invocation_index) lane: u32) {
  let index = group_id.y * groups.x + group_id.x;
  let split = index / TILES % SPLIT_K;
  let group = index / (TILES * SPLIT_K);
  let tile = index % TILES;
  let row = tile / TILES_X * TILE_ROWS;
  let column = tile % TILES_X * TILE_COLUMNS;
  if (group >= GROUPS) { return; }

  let lane_x = lane % LANES_X;
  let lane_y = lane / LANES_X;
  var next_windows: array<vec4f, WINDOW_LOADS>;
  var next_grads: array<vec4f, FACTOR_LOADS>;
  var sums: array<vec4f, MICROTILE_ROWS>;
  let begin = split * PIXELS_PER_SPLIT;
  let end = min(begin + PIXELS_PER_SPLIT, PIXELS);
  for (var k = begin; begin < end; k += TILE_K) {
    // Prefetch the next step while this one is computed.
    if (k < end) {
      // unroll
      for (var i = 0u; i < WINDOW_LOADS; i++) {
        let load = lane + i * LANES;
        next_windows[i] = load_window(k + load / TILE_ROWS_VEC4,
                                      row + 4u * (load % TILE_ROWS_VEC4), group);
      }
      // unroll
      for (var i = 0u; i < FACTOR_LOADS; i++) {
        let load = lane + i * LANES;
        next_grads[i] = load_grad(k + load / LANES_X, column + 4u * (load % LANES_X), group);
      }
    }
    if (k > begin) {
      // if UNROLLED
      // unroll
      // end
      for (var p = 0u; p < TILE_K; p++) {
        let b = grad_tile[p * LANES_X + lane_x];
        // unroll
        for (var r = 0u; r < MICROTILE_ROWS_VEC4; r++) {
          let a = window_tile[p * TILE_ROWS_VEC4 + lane_y + r * LANES_Y];
          sums[4u * r] = fma(vec4f(a.x), b, sums[4u * r]);
          sums[4u * r + 1u] = fma(vec4f(a.y), b, sums[4u * r + 1u]);
          sums[4u * r + 2u] = fma(vec4f(a.z), b, sums[4u * r + 2u]);
          sums[4u * r + 3u] = fma(vec4f(a.w), b, sums[4u * r + 3u]);
        }
      }
    }
    if (k >= end) { break; }
    workgroupBarrier();
    // unroll
    for (var i = 0u; i < WINDOW_LOADS; i++) { window_tile[lane + i * LANES] = next_windows[i]; }
    // unroll
    for (var i = 0u; i < FACTOR_LOADS; i++) { grad_tile[lane + i * LANES] = next_grads[i]; }
    workgroupBarrier();
  }

  for (var r = 0u; r < MICROTILE_ROWS; r++) {
    // Sums stay in registers because every index of `sums` is a constant.
    var values = vec4f();
    // unroll
    for (var i = 0u; i < MICROTILE_ROWS; i++) { values = select(values, sums[i], r == i); }
    let tile_row = row + 4u * (lane_y + r / 4u * LANES_Y) + r % 4u;
    if (tile_row >= ROWS) { break; }
    store_columns(split * ROWS + tile_row, group, column + 4u * lane_x, values);
  }
}
