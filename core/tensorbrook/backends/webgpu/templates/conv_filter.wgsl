// The gradient of a convolution's filter as a product: out[tap and channel, column] = the sum over
// pixels of x where the tap of the pixel lies, times g. A workgroup makes a tile of TILE_ROWS taps
// and channels and TILE_COLUMNS columns, one invocation ROWS by four of it. The sums are long and
// the results few, so the pixels are cut into PARTS, one matrix in `out` for each. NUMBERED takes
// long to compile and is what devices need that are fast.

alias first_type = f32;
alias second_type = f32;
alias sum_type = f32;

// include "include/convolution.wgsl"

// ROWS / 4
override TALL: u32;

// if G_BY_FOUR
@group(0) @binding(1) var<storage, read> g: array<vec4<second_type>>;
// else
@group(0) @binding(1) var<storage, read> g: array<second_type>;
// end
// include "include/conv_tile.wgsl"

const_assert 4 * TALL == ROWS;
const HEIGHT = TAPS_Y * TAPS_X * CHANNELS;
const PIXELS = N * OUT_Y * OUT_X;
const FOURS = TILE_ROWS / 4;                             // four rows in one vector
const TILES = TILES_X * ((HEIGHT + TILE_ROWS - 1) / TILE_ROWS);
const SHARE = (PIXELS + TILE_K * PARTS - 1) / (TILE_K * PARTS) * TILE_K;

var<workgroup> windows: array<vec4f, TILE_K * FOURS>;
var<workgroup> shares: array<vec4f, TILE_K * LANES_X>;

// Where in x a pixel's window begins.
struct Window { image: u32, top: u32, left: u32 }

fn window_of(pixel: u32) -> Window {
  let line = pixel / OUT_X;
  return Window(line / OUT_Y, line % OUT_Y * STRIDE_Y - PADDING_Y,
                pixel % OUT_X * STRIDE_X - PADDING_X);
}

fn place(pixel: u32, row: u32, group: u32) -> Place {
  let v = window_of(pixel);
  let tap = row / CHANNELS;
  let y = v.top + tap / TAPS_X * DILATION_Y;             // wraps around above and left of x
  let column = v.left + tap % TAPS_X * DILATION_X;
  return place_of(v.image, y, column, group * CHANNELS + row % CHANNELS,
                  (pixel < PIXELS) & (row < HEIGHT));
}

// Four rows of a pixel's window.
fn gathered(pixel: u32, row: u32, group: u32) -> vec4f {
  // if X_BY_FOUR
  return four_at(place(pixel, row, group));
  // else
  return four_at(place(pixel, row, group), place(pixel, row + 1u, group),
                 place(pixel, row + 2u, group), place(pixel, row + 3u, group));
  // end
}

// Four columns of a pixel of g.
// if G_BY_FOUR
fn fetched(pixel: u32, column: u32, group: u32) -> vec4f {
  let inside = (pixel < PIXELS) & (column < COLUMNS);
  let at = (pixel * OUT_C + group * COLUMNS + column) / 4u;
  return select(vec4f(), taken_second(vec4f(g[select(0u, at, inside)])), inside);
}
// else
fn fetched(pixel: u32, column: u32, group: u32) -> vec4f {
  let columns = vec4u(column, column + 1u, column + 2u, column + 3u);
  let inside = vec4<bool>(pixel < PIXELS) & (columns < vec4u(COLUMNS));
  let at = select(vec4u(), pixel * OUT_C + group * COLUMNS + columns, inside);
  let four = vec4f(f32(g[at.x]), f32(g[at.y]), f32(g[at.z]), f32(g[at.w]));
  return select(vec4f(), taken_second(four), inside);
}
// end

@compute @workgroup_size(LANES)
fn main(@builtin(workgroup_id) tile: vec3u, @builtin(num_workgroups) tiles: vec3u,
        @builtin(local_invocation_index) lane: u32) {
  let index = tile.y * tiles.x + tile.x;
  let part = index / TILES % PARTS;
  let group = index / (TILES * PARTS);
  let number = index % TILES;
  let row = number / TILES_X * TILE_ROWS;
  let column = number % TILES_X * TILE_COLUMNS;
  if (group >= GROUPS) { return; }

  let lane_x = lane % LANES_X;
  let lane_y = lane / LANES_X;
  var next_windows: array<vec4f, GATHERS>;
  var next_shares: array<vec4f, FETCHES>;
  var sums: array<vec4f, ROWS>;
  let begin = part * SHARE;
  let end = min(begin + SHARE, PIXELS);
  for (var k = begin; begin < end; k += TILE_K) {
    // The next tile is on its way while sums are made of the last one.
    if (k < end) {
      // unroll
      for (var i = 0u; i < GATHERS; i++) {
        let at = lane + i * LANES;
        next_windows[i] = gathered(k + at / FOURS, row + 4u * (at % FOURS), group);
      }
      // unroll
      for (var i = 0u; i < FETCHES; i++) {
        let at = lane + i * LANES;
        next_shares[i] = fetched(k + at / LANES_X, column + 4u * (at % LANES_X), group);
      }
    }
    if (k > begin) {
      // if NUMBERED
      // unroll
      // end
      for (var depth = 0u; depth < TILE_K; depth++) {
        let b = shares[depth * LANES_X + lane_x];
        // unroll
        for (var r = 0u; r < TALL; r++) {
          let a = windows[depth * FOURS + lane_y + r * LANES_Y];
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
    for (var i = 0u; i < GATHERS; i++) { windows[lane + i * LANES] = next_windows[i]; }
    // unroll
    for (var i = 0u; i < FETCHES; i++) { shares[lane + i * LANES] = next_shares[i]; }
    workgroupBarrier();
  }

  for (var r = 0u; r < ROWS; r++) {
    // Sums stay in registers: none is asked for by a number that is not known.
    var line = vec4f();
    // unroll
    for (var i = 0u; i < ROWS; i++) { line = select(line, sums[i], r == i); }
    let at = row + 4u * (lane_y + r / 4u * LANES_Y) + r % 4u;
    if (at >= HEIGHT) { break; }
    put_columns(part * HEIGHT + at, group, column + 4u * lane_x, line);
  }
}
