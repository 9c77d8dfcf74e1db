// Implicit GEMM convolution (implicit im2col): out[pixel, column] = the sum over taps and channels
// of the pixel's window in x times w. A workgroup computes a tile of TILE_ROWS pixels and
// TILE_COLUMNS columns, an invocation MICROTILE_ROWS pixels and four columns of it. Forward, x is
// the image; TRANSPOSED, for the gradient of the image, x is the gradient of the result. With a
// stride s, a given tap then contributes only to every s-th pixel: pixels that are equal modulo s
// form a phase, which is a convolution with every PERIOD-th tap. `out` has a partial result for
// each of SPLIT_K splits of the sum. UNROLLED makes all indices of the inner loop constants: faster
// on hardware, but slow to compile.

alias first_type = f32;
alias second_type = f32;
alias sum_type = f32;

// include "include/convolution.wgsl"

override PERIOD_Y: u32;
override PERIOD_X: u32;
// tiles of a layer, which is a split of a phase of a group
override TILES: u32;
// TILE_K / 4: a vec4 has four consecutive k
override TILE_K_VEC4: u32;

// if W_IS_VEC4
@group(0) @binding(1) var<storage, read> w: array<vec4<second_type>>;
// else
@group(0) @binding(1) var<storage, read> w: array<second_type>;
// end
// include "include/conv_tile.wgsl"

const_assert 4 * TILE_K_VEC4 == TILE_K;
const OUTSIDE = -0x40000000;             // so far outside of x that no tap reaches x
// if TRANSPOSED
const PHASES_Y = STRIDE_Y;
const PHASES_X = STRIDE_X;
const PITCH = LANES_X + 1;               // padded against bank conflicts of the stores
// else
const PHASES_Y = 1u;
const PHASES_X = 1u;
const PITCH = LANES_X;
// end

var<workgroup> window_tile: array<vec4f, TILE_ROWS * TILE_K_VEC4>;
var<workgroup> filter_tile: array<vec4f, TILE_K * PITCH>;

// A phase along an axis: pixel first + r * PHASES uses tap first_tap + t * PERIOD at the coordinate
// start + r * STEP + t * TAP_STEP of x.
struct Axis { first: u32, count: u32, start: i32, first_tap: u32, taps: u32 }

// if TRANSPOSED
fn axis_of(phase: u32, pixels: u32, taps: u32, stride: u32, dilation: u32, padding: u32,
           period: u32) -> Axis {
  let first = (phase + stride - padding % stride) % stride;
  let count = select(0u, (pixels - first + stride - 1u) / stride, first < pixels);
  var tap = 0u;
  while (tap < min(period, taps) && tap * dilation % stride != phase) { tap++; }
  let num_taps = select(0u, (taps - tap + period - 1u) / period, tap < period && tap < taps);
  return Axis(first, count, (i32(first + padding) - i32(tap * dilation)) / i32(stride), tap,
              num_taps);
}
const STEP_Y = 1u;
const STEP_X = 1u;
const TAP_STEP_Y = -i32(PERIOD_Y * DILATION_Y / STRIDE_Y);
const TAP_STEP_X = -i32(PERIOD_X * DILATION_X / STRIDE_X);
// else
fn axis_of(phase: u32, pixels: u32, taps: u32, stride: u32, dilation: u32, padding: u32,
           period: u32) -> Axis {
  return Axis(0u, pixels, -i32(padding), 0u, taps);
}
const STEP_Y = STRIDE_Y;
const STEP_X = STRIDE_X;
const TAP_STEP_Y = i32(DILATION_Y);
const TAP_STEP_X = i32(DILATION_X);
// end

// A row of the product: its image, and the coordinates of its first tap in x.
struct Window { image: u32, top: i32, left: i32 }

fn window_of(row: u32, axis_y: Axis, axis_x: Axis) -> Window {
  if (row >= N * axis_y.count * axis_x.count) { return Window(0u, OUTSIDE, OUTSIDE); }
  let line = row / axis_x.count;
  return Window(line / axis_y.count, axis_y.start + i32(line % axis_y.count * STEP_Y),
                axis_x.start + i32(row % axis_x.count * STEP_X));
}

fn window_offset(v: Window, k: u32, k_end: u32, taps_x: u32, group: u32) -> Offset {
  let tap = k / CHANNELS;
  let y = u32(v.top + i32(tap / taps_x) * TAP_STEP_Y);
  let column = u32(v.left + i32(tap % taps_x) * TAP_STEP_X);
  return pixel_offset(v.image, y, column, group * CHANNELS + k % CHANNELS, k < k_end);
}

// Four consecutive k of a window; k_end is the length of the sum.
fn load_window(v: Window, k: u32, k_end: u32, taps_x: u32, group: u32) -> vec4f {
  // if X_IS_VEC4
  return load_vec4(window_offset(v, k, k_end, taps_x, group));
  // else
  return load_vec4(window_offset(v, k, k_end, taps_x, group),
                   window_offset(v, k + 1u, k_end, taps_x, group),
                   window_offset(v, k + 2u, k_end, taps_x, group),
                   window_offset(v, k + 3u, k_end, taps_x, group));
  // end
}

// Four columns of the filter at k.
// if W_IS_VEC4
fn load_filter(k: u32, column: u32, k_end: u32, axis_y: Axis, axis_x: Axis, group: u32) -> vec4f {
  let inside = (k < k_end) & (column < COLUMNS);
  let index = (k * OUT_C + group * COLUMNS + column) / 4u;
  return select(vec4f(), load_second(vec4f(w[select(0u, index, inside)])), inside);
}
// else
fn load_filter(k: u32, column: u32, k_end: u32, axis_y: Axis, axis_x: Axis, group: u32) -> vec4f {
  let columns = vec4u(column, column + 1u, column + 2u, column + 3u);
  let inside = vec4<bool>(k < k_end) & (columns < vec4u(COLUMNS));
  // if TRANSPOSED
  let tap = k / CHANNELS;
  let i = axis_y.first_tap + tap / axis_x.taps * PERIOD_Y;
  let j = axis_x.first_tap + tap % axis_x.taps * PERIOD_X;
  let first = (i * TAPS_X + j) * COLUMNS * IN_C + group * CHANNELS + k % CHANNELS;
  let indices = select(vec4u(), first + columns * IN_C, inside);
  // else
  let indices = select(vec4u(), k * OUT_C + group * COLUMNS + columns, inside);
  // end
  let elements = vec4f(f32(w[indices.x]), f32(w[indices.y]), f32(w[indices.z]), f32(w[indices.w]));
  return select(vec4f(), load_second(elements), inside);
}
// end

// The k and the vec4 of columns of an invocation's load of the filter. Neighbouring invocations
// load contiguous elements: along the columns, or TRANSPOSED along k.
// if TRANSPOSED
fn load_k(load: u32) -> u32 { return load % TILE_K; }
fn load_column(load: u32) -> u32 { return load / TILE_K; }
// else
fn load_k(load: u32) -> u32 { return load / LANES_X; }
fn load_column(load: u32) -> u32 { return load % LANES_X; }
// end

@compute @workgroup_size(LANES)
fn main(@builtin(workgroup_id) group_id: vec3u, @builtin(num_workgroups) groups: vec3u,
        @builtin(local_invocation_index) lane: u32) {
  let index = group_id.y * groups.x + group_id.x;
  let split = index / TILES % SPLIT_K;
  let phase = index / (TILES * SPLIT_K) % (PHASES_Y * PHASES_X);
  let group = index / (TILES * SPLIT_K) / (PHASES_Y * PHASES_X);
  let axis_y = axis_of(phase / PHASES_X, OUT_Y, TAPS_Y, STRIDE_Y, DILATION_Y, PADDING_Y, PERIOD_Y);
  let axis_x = axis_of(phase % PHASES_X, OUT_X, TAPS_X, STRIDE_X, DILATION_X, PADDING_X, PERIOD_X);
  let tile = index % TILES;
  let row = tile / TILES_X * TILE_ROWS;
  let column = tile % TILES_X * TILE_COLUMNS;
  let rows = N * axis_y.count * axis_x.count;
  if (row >= rows || group >= GROUPS) { return; }

  let k_end = axis_y.taps * axis_x.taps * CHANNELS;
  let k_per_split = (k_end + TILE_K * SPLIT_K - 1u) / (TILE_K * SPLIT_K) * TILE_K;
  let end = min((split + 1u) * k_per_split, k_end);
  let begin = split * k_per_split;
  let lane_x = lane % LANES_X;
  let lane_y = lane / LANES_X;
  var windows: array<Window, WINDOW_LOADS>;
  // unroll
  for (var i = 0u; i < WINDOW_LOADS; i++) {
    windows[i] = window_of(row + (lane + i * LANES) / TILE_K_VEC4, axis_y, axis_x);
  }
  var next_windows: array<vec4f, WINDOW_LOADS>;
  var next_filters: array<vec4f, FACTOR_LOADS>;
  var sums: array<vec4f, MICROTILE_ROWS>;
  for (var k = begin; begin < end; k += TILE_K) {
    // Prefetch the next step while this one is computed.
    if (k < end) {
      // unroll
      for (var i = 0u; i < WINDOW_LOADS; i++) {
        next_windows[i] =
            load_window(windows[i], k + 4u * (lane % TILE_K_VEC4), k_end, axis_x.taps, group);
      }
      // unroll
      for (var i = 0u; i < FACTOR_LOADS; i++) {
        let load = lane + i * LANES;
        next_filters[i] = load_filter(k + load_k(load), column + 4u * load_column(load), k_end,
                                      axis_y, axis_x, group);
      }
    }
    if (k > begin) {
      // if UNROLLED
      // unroll
      // end
      for (var q = 0u; q < TILE_K_VEC4; q++) {
        let b0 = filter_tile[4u * q * PITCH + lane_x];
        let b1 = filter_tile[(4u * q + 1u) * PITCH + lane_x];
        let b2 = filter_tile[(4u * q + 2u) * PITCH + lane_x];
        let b3 = filter_tile[(4u * q + 3u) * PITCH + lane_x];
        // unroll
        for (var r = 0u; r < MICROTILE_ROWS; r++) {
          let a = window_tile[(lane_y + r * LANES_Y) * TILE_K_VEC4 + q];
          sums[r] = fma(vec4f(a.x), b0, sums[r]);
          sums[r] = fma(vec4f(a.y), b1, sums[r]);
          sums[r] = fma(vec4f(a.z), b2, sums[r]);
          sums[r] = fma(vec4f(a.w), b3, sums[r]);
        }
      }
    }
    if (k >= end) { break; }
    workgroupBarrier();
    // unroll
    for (var i = 0u; i < WINDOW_LOADS; i++) { window_tile[lane + i * LANES] = next_windows[i]; }
    // unroll
    for (var i = 0u; i < FACTOR_LOADS; i++) {
      let load = lane + i * LANES;
      filter_tile[load_k(load) * PITCH + load_column(load)] = next_filters[i];
    }
    workgroupBarrier();
  }

  for (var r = 0u; r < MICROTILE_ROWS; r++) {
    // Sums stay in registers because every index of `sums` is a constant.
    var values = vec4f();
    // unroll
    for (var i = 0u; i < MICROTILE_ROWS; i++) { values = select(values, sums[i], r == i); }
    let tile_row = row + lane_y + r * LANES_Y;
    if (tile_row >= rows) { break; }
    let y = tile_row / axis_x.count / axis_y.count * OUT_Y + axis_y.first
        + tile_row / axis_x.count % axis_y.count * PHASES_Y;
    let pixel = y * OUT_X + axis_x.first + tile_row % axis_x.count * PHASES_X;
    store_columns(split * N * OUT_Y * OUT_X + pixel, group, column + 4u * lane_x, values);
  }
}
