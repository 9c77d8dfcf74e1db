// The gradient of a convolution's filter as a product: out[tap and channel, column] = the sum over
// pixels of x where the tap of the pixel lies, times g. A workgroup makes a tile of TILE_ROWS taps
// and channels and TILE_COLUMNS columns, one invocation ROWS by four of it. The sums are long and
// the results few, so the pixels are cut into PARTS, one matrix in `out` for each. NUMBERED takes
// long to compile and is what devices need that are fast.

alias element = f32;
alias sum_type = f32;

override N: u32 = 1;
// rows of x, columns of x, channels of x in a group
override IN_Y: u32 = 8;
override IN_X: u32 = 8;
override CHANNELS: u32 = 4;
// of g
override OUT_Y: u32 = 8;
override OUT_X: u32 = 8;
override COLUMNS: u32 = 4;
override GROUPS: u32 = 1;
override TAPS_Y: u32 = 3;
override TAPS_X: u32 = 3;
override STRIDE_Y: u32 = 1;
override STRIDE_X: u32 = 1;
override DILATION_Y: u32 = 1;
override DILATION_X: u32 = 1;
override PADDING_Y: u32 = 1;
override PADDING_X: u32 = 1;
override PARTS: u32 = 1;
override TILE_ROWS: u32 = 64;
override TILE_COLUMNS: u32 = 64;
override ROWS: u32 = 4;
// ROWS / 4, and the vectors that an invocation brings into a tile: of windows, and of g
override TALL: u32 = 1;
override GATHERS: u32 = 1;
override FETCHES: u32 = 1;

const TILE_K: u32 = 16;

const IN_C = CHANNELS * GROUPS;
const OUT_C = COLUMNS * GROUPS;
const HEIGHT = TAPS_Y * TAPS_X * CHANNELS;
const PIXELS = N * OUT_Y * OUT_X;
const FOURS = TILE_ROWS / 4;                             // four rows in one vector
const LANES_X = TILE_COLUMNS / 4;
const LANES_Y = TILE_ROWS / ROWS;
const LANES = LANES_X * LANES_Y;
const_assert 4 * TALL == ROWS;
const_assert GATHERS * LANES == TILE_K * FOURS && FETCHES * LANES == TILE_K * LANES_X;
const TILES_X = (COLUMNS + TILE_COLUMNS - 1) / TILE_COLUMNS;
const TILES = TILES_X * ((HEIGHT + TILE_ROWS - 1) / TILE_ROWS);
const SHARE = (PIXELS + TILE_K * PARTS - 1) / (TILE_K * PARTS) * TILE_K;

// if X_BY_FOUR
@group(0) @binding(0) var<storage, read> x: array<vec4<element>>;
// else
@group(0) @binding(0) var<storage, read> x: array<element>;
// end
// if G_BY_FOUR
@group(0) @binding(1) var<storage, read> g: array<vec4<element>>;
// else
@group(0) @binding(1) var<storage, read> g: array<element>;
// end
// if OUT_BY_FOUR
@group(0) @binding(2) var<storage, read_write> out: array<vec4<sum_type>>;
// else
@group(0) @binding(2) var<storage, read_write> out: array<sum_type>;
// end

var<workgroup> windows: array<vec4f, TILE_K * FOURS>;
var<workgroup> shares: array<vec4f, TILE_K * LANES_X>;

// if OUT_BY_FOUR
fn put_four(row: u32, column: u32, four: vec4f) {
  out[(row * OUT_C + column) / 4u] = vec4<sum_type>(four);
}
// else
fn put(row: u32, column: u32, value: f32) { out[row * OUT_C + column] = sum_type(value); }
// end

// Where in x a pixel's window begins.
struct Window { image: u32, top: u32, left: u32 }

fn window_of(pixel: u32) -> Window {
  let line = pixel / OUT_X;
  return Window(line / OUT_Y, line % OUT_Y * STRIDE_Y - PADDING_Y,
                pixel % OUT_X * STRIDE_X - PADDING_X);
}

// Index of what a window holds at a tap and channel, and whether it is inside. Without branches, of
// which every copy would have to be compiled: what lies outside is read from index 0 and not taken.
struct Place { at: u32, inside: bool }

fn place(pixel: u32, row: u32, group: u32) -> Place {
  let v = window_of(pixel);
  let tap = row / CHANNELS;
  let y = v.top + tap / TAPS_X * DILATION_Y;             // wraps around above and left of x
  let column = v.left + tap % TAPS_X * DILATION_X;
  let inside = (pixel < PIXELS) & (row < HEIGHT) & (y < IN_Y) & (column < IN_X);
  let at = ((v.image * IN_Y + y) * IN_X + column) * IN_C + group * CHANNELS + row % CHANNELS;
  return Place(select(0u, at, inside), inside);
}

// Four rows of a pixel's window.
// if X_BY_FOUR
fn gathered(pixel: u32, row: u32, group: u32) -> vec4f {
  let p = place(pixel, row, group);
  return select(vec4f(), vec4f(x[p.at / 4u]), p.inside);
}
// else
fn gathered(pixel: u32, row: u32, group: u32) -> vec4f {
  let p0 = place(pixel, row, group);
  let p1 = place(pixel, row + 1u, group);
  let p2 = place(pixel, row + 2u, group);
  let p3 = place(pixel, row + 3u, group);
  return select(vec4f(), vec4f(f32(x[p0.at]), f32(x[p1.at]), f32(x[p2.at]), f32(x[p3.at])),
                vec4<bool>(p0.inside, p1.inside, p2.inside, p3.inside));
}
// end

// Four columns of a pixel of g.
// if G_BY_FOUR
fn fetched(pixel: u32, column: u32, group: u32) -> vec4f {
  let inside = (pixel < PIXELS) & (column < COLUMNS);
  let at = (pixel * OUT_C + group * COLUMNS + column) / 4u;
  return select(vec4f(), vec4f(g[select(0u, at, inside)]), inside);
}
// else
fn fetched(pixel: u32, column: u32, group: u32) -> vec4f {
  let columns = vec4u(column, column + 1u, column + 2u, column + 3u);
  let inside = vec4<bool>(pixel < PIXELS) & (columns < vec4u(COLUMNS));
  let at = select(vec4u(), pixel * OUT_C + group * COLUMNS + columns, inside);
  return select(vec4f(), vec4f(f32(g[at.x]), f32(g[at.y]), f32(g[at.z]), f32(g[at.w])), inside);
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
    let to = column + 4u * lane_x;
    // if OUT_BY_FOUR
    if (to < COLUMNS) { put_four(part * HEIGHT + at, group * COLUMNS + to, line); }
    // else
    for (var i = 0u; i < min(COLUMNS - min(to, COLUMNS), 4u); i++) {
      put(part * HEIGHT + at, group * COLUMNS + to + i, line[i]);
    }
    // end
  }
}
