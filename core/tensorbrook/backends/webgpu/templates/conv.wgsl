// A convolution as a product: out[pixel, column] = the sum over taps and channels of x where the
// tap of the pixel lies, times w. The windows of pixels are gathered on the way (implicit im2col).
// A workgroup makes a tile of TILE_ROWS pixels and TILE_COLUMNS columns, one invocation ROWS pixels
// and four columns of it. Forward x is the image; TURNED, for the gradient of the image, x is the
// gradient of the result: under a stride s only every s-th pixel meets a given tap, so pixels that
// are alike modulo s form a phase, which is a convolution with every PERIOD-th tap. The sums are
// cut into PARTS, one matrix in `out` for each. NUMBERED takes long to compile and is what devices
// need that are fast.

alias first_type = f32;
alias second_type = f32;
alias sum_type = f32;

// include "include/convolution.wgsl"

override PERIOD_Y: u32;
override PERIOD_X: u32;
// tiles of a layer, which is a part of a phase of a group
override TILES: u32;
// fours of TILE_K: four values along the sum in one vector
override QUADS: u32;

// if W_BY_FOUR
@group(0) @binding(1) var<storage, read> w: array<vec4<second_type>>;
// else
@group(0) @binding(1) var<storage, read> w: array<second_type>;
// end
// include "include/conv_tile.wgsl"

const_assert 4 * QUADS == TILE_K;
const OUTSIDE = -0x40000000;                             // no tap leads back from there
// if TURNED
const PHASES_Y = STRIDE_Y;
const PHASES_X = STRIDE_X;
const PITCH = LANES_X + 1;                               // so that writes meet no bank twice
// else
const PHASES_Y = 1u;
const PHASES_X = 1u;
const PITCH = LANES_X;
// end

var<workgroup> windows: array<vec4f, TILE_ROWS * QUADS>;
var<workgroup> weights: array<vec4f, TILE_K * PITCH>;

// What a phase has along an axis: pixel first + r * skip meets tap first_tap + t * period at
// start + r * step + t * gap.
struct Axis { first: u32, count: u32, start: i32, first_tap: u32, taps: u32 }

// if TURNED
fn axis(phase: u32, pixels: u32, taps: u32, stride: u32, dilation: u32, padding: u32, period: u32)
    -> Axis {
  let first = (phase + stride - padding % stride) % stride;
  let count = select(0u, (pixels - first + stride - 1u) / stride, first < pixels);
  var tap = 0u;
  while (tap < min(period, taps) && tap * dilation % stride != phase) { tap++; }
  let met = select(0u, (taps - tap + period - 1u) / period, tap < period && tap < taps);
  return Axis(first, count, (i32(first + padding) - i32(tap * dilation)) / i32(stride), tap, met);
}
const STEP_Y = 1u;
const STEP_X = 1u;
const GAP_Y = -i32(PERIOD_Y * DILATION_Y / STRIDE_Y);
const GAP_X = -i32(PERIOD_X * DILATION_X / STRIDE_X);
// else
fn axis(phase: u32, pixels: u32, taps: u32, stride: u32, dilation: u32, padding: u32, period: u32)
    -> Axis {
  return Axis(0u, pixels, -i32(padding), 0u, taps);
}
const STEP_Y = STRIDE_Y;
const STEP_X = STRIDE_X;
const GAP_Y = i32(DILATION_Y);
const GAP_X = i32(DILATION_X);
// end

// A row of the product: its image, and where in x its first tap lies.
struct Window { image: u32, top: i32, left: i32 }

fn window_of(row: u32, down: Axis, across: Axis) -> Window {
  if (row >= N * down.count * across.count) { return Window(0u, OUTSIDE, OUTSIDE); }
  let line = row / across.count;
  return Window(line / down.count, down.start + i32(line % down.count * STEP_Y),
                across.start + i32(row % across.count * STEP_X));
}

fn place(v: Window, k: u32, k_end: u32, taps_x: u32, group: u32) -> Place {
  let tap = k / CHANNELS;
  let y = u32(v.top + i32(tap / taps_x) * GAP_Y);
  let column = u32(v.left + i32(tap % taps_x) * GAP_X);
  return place_of(v.image, y, column, group * CHANNELS + k % CHANNELS, k < k_end);
}

// Four values of a window along the sum, whose length is k_end.
fn gathered(v: Window, k: u32, k_end: u32, taps_x: u32, group: u32) -> vec4f {
  // if X_BY_FOUR
  return four_at(place(v, k, k_end, taps_x, group));
  // else
  return four_at(place(v, k, k_end, taps_x, group), place(v, k + 1u, k_end, taps_x, group),
                 place(v, k + 2u, k_end, taps_x, group), place(v, k + 3u, k_end, taps_x, group));
  // end
}

// Four columns of the filter at k.
// if W_BY_FOUR
fn fetched(k: u32, column: u32, k_end: u32, down: Axis, across: Axis, group: u32) -> vec4f {
  let inside = (k < k_end) & (column < COLUMNS);
  let at = (k * OUT_C + group * COLUMNS + column) / 4u;
  return select(vec4f(), taken_second(vec4f(w[select(0u, at, inside)])), inside);
}
// else
fn fetched(k: u32, column: u32, k_end: u32, down: Axis, across: Axis, group: u32) -> vec4f {
  let columns = vec4u(column, column + 1u, column + 2u, column + 3u);
  let inside = vec4<bool>(k < k_end) & (columns < vec4u(COLUMNS));
  // if TURNED
  let tap = k / CHANNELS;
  let i = down.first_tap + tap / across.taps * PERIOD_Y;
  let j = across.first_tap + tap % across.taps * PERIOD_X;
  let row = (i * TAPS_X + j) * COLUMNS * IN_C + group * CHANNELS + k % CHANNELS;
  let at = select(vec4u(), row + columns * IN_C, inside);
  // else
  let at = select(vec4u(), k * OUT_C + group * COLUMNS + columns, inside);
  // end
  let four = vec4f(f32(w[at.x]), f32(w[at.y]), f32(w[at.z]), f32(w[at.w]));
  return select(vec4f(), taken_second(four), inside);
}
// end

// Which of the tile's weights an invocation brings: neighbours read neighbours, along the columns,
// or TURNED along the sum.
// if TURNED
fn depth_of(at: u32) -> u32 { return at % TILE_K; }
fn four_of(at: u32) -> u32 { return at / TILE_K; }
// else
fn depth_of(at: u32) -> u32 { return at / LANES_X; }
fn four_of(at: u32) -> u32 { return at % LANES_X; }
// end

@compute @workgroup_size(LANES)
fn main(@builtin(workgroup_id) tile: vec3u, @builtin(num_workgroups) tiles: vec3u,
        @builtin(local_invocation_index) lane: u32) {
  let index = tile.y * tiles.x + tile.x;
  let part = index / TILES % PARTS;
  let phase = index / (TILES * PARTS) % (PHASES_Y * PHASES_X);
  let group = index / (TILES * PARTS) / (PHASES_Y * PHASES_X);
  let down = axis(phase / PHASES_X, OUT_Y, TAPS_Y, STRIDE_Y, DILATION_Y, PADDING_Y, PERIOD_Y);
  let across = axis(phase % PHASES_X, OUT_X, TAPS_X, STRIDE_X, DILATION_X, PADDING_X, PERIOD_X);
  let number = index % TILES;
  let row = number / TILES_X * TILE_ROWS;
  let column = number % TILES_X * TILE_COLUMNS;
  let rows = N * down.count * across.count;
  if (row >= rows || group >= GROUPS) { return; }

  let k_end = down.taps * across.taps * CHANNELS;
  let share = (k_end + TILE_K * PARTS - 1u) / (TILE_K * PARTS) * TILE_K;
  let end = min((part + 1u) * share, k_end);
  let begin = part * share;
  let lane_x = lane % LANES_X;
  let lane_y = lane / LANES_X;
  var seen: array<Window, GATHERS>;
  // unroll
  for (var i = 0u; i < GATHERS; i++) {
    seen[i] = window_of(row + (lane + i * LANES) / QUADS, down, across);
  }
  var next_windows: array<vec4f, GATHERS>;
  var next_weights: array<vec4f, FETCHES>;
  var sums: array<vec4f, ROWS>;
  for (var k = begin; begin < end; k += TILE_K) {
    // The next tile is on its way while sums are made of the last one.
    if (k < end) {
      // unroll
      for (var i = 0u; i < GATHERS; i++) {
        next_windows[i] =
            gathered(seen[i], k + 4u * (lane % QUADS), k_end, across.taps, group);
      }
      // unroll
      for (var i = 0u; i < FETCHES; i++) {
        let at = lane + i * LANES;
        next_weights[i] =
            fetched(k + depth_of(at), column + 4u * four_of(at), k_end, down, across, group);
      }
    }
    if (k > begin) {
      // if NUMBERED
      // unroll
      // end
      for (var q = 0u; q < QUADS; q++) {
        let b0 = weights[4u * q * PITCH + lane_x];
        let b1 = weights[(4u * q + 1u) * PITCH + lane_x];
        let b2 = weights[(4u * q + 2u) * PITCH + lane_x];
        let b3 = weights[(4u * q + 3u) * PITCH + lane_x];
        // unroll
        for (var r = 0u; r < ROWS; r++) {
          let a = windows[(lane_y + r * LANES_Y) * QUADS + q];
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
    for (var i = 0u; i < GATHERS; i++) { windows[lane + i * LANES] = next_windows[i]; }
    // unroll
    for (var i = 0u; i < FETCHES; i++) {
      let at = lane + i * LANES;
      weights[depth_of(at) * PITCH + four_of(at)] = next_weights[i];
    }
    workgroupBarrier();
  }

  for (var r = 0u; r < ROWS; r++) {
    // Sums stay in registers: none is asked for by a number that is not known.
    var line = vec4f();
    // unroll
    for (var i = 0u; i < ROWS; i++) { line = select(line, sums[i], r == i); }
    let at = row + lane_y + r * LANES_Y;
    if (at >= rows) { break; }
    let y = at / across.count / down.count * OUT_Y + down.first
        + at / across.count % down.count * PHASES_Y;
    let pixel = y * OUT_X + across.first + at % across.count * PHASES_X;
    put_columns(part * N * OUT_Y * OUT_X + pixel, group, column + 4u * lane_x, line);
  }
}
