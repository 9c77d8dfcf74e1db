// A tile of a product with windows of x: TILE_ROWS by TILE_COLUMNS, of which an invocation makes
// ROWS by four, TILE_K places of the sums at a time. The sums are cut into PARTS, one matrix in
// `out` for each.

override PARTS: u32;
override TILE_ROWS: u32;
override TILE_COLUMNS: u32;
override TILE_K: u32;
override ROWS: u32;
// vectors that an invocation brings into a tile: of windows, and of the other factor
override GATHERS: u32;
override FETCHES: u32;

const LANES_X = TILE_COLUMNS / 4;
const LANES_Y = TILE_ROWS / ROWS;
const LANES = LANES_X * LANES_Y;
const_assert 4 * GATHERS * LANES == TILE_ROWS * TILE_K && FETCHES * LANES == TILE_K * LANES_X;
const TILES_X = (COLUMNS + TILE_COLUMNS - 1) / TILE_COLUMNS;

// if X_BY_FOUR
@group(0) @binding(0) var<storage, read> x: array<vec4<first_type>>;
// else
@group(0) @binding(0) var<storage, read> x: array<first_type>;
// end
// if OUT_BY_FOUR
@group(0) @binding(2) var<storage, read_write> out: array<vec4<sum_type>>;
// else
@group(0) @binding(2) var<storage, read_write> out: array<sum_type>;
// end

// include "include/operand_load.wgsl"

// Four columns of a row of a group's result, those of them that there are.
// if OUT_BY_FOUR
fn put_columns(row: u32, group: u32, column: u32, four: vec4f) {
  if (column < COLUMNS) { put_four(row, group * COLUMNS + column, four); }
}

fn put_four(row: u32, column: u32, four: vec4f) {
  out[(row * OUT_C + column) / 4u] = vec4<sum_type>(four);
}
// else
fn put_columns(row: u32, group: u32, column: u32, four: vec4f) {
  for (var i = 0u; i < min(COLUMNS - min(column, COLUMNS), 4u); i++) {
    put(row, group * COLUMNS + column + i, four[i]);
  }
}

fn put(row: u32, column: u32, value: f32) { out[row * OUT_C + column] = sum_type(value); }
// end

// Index of what a window holds at some place, and whether it is inside. Without branches, of which
// every copy would have to be compiled: what lies outside is read from index 0 and not taken.
struct Place { at: u32, inside: bool }

fn place_of(image: u32, y: u32, column: u32, channel: u32, asked: bool) -> Place {
  let inside = asked & (y < IN_Y) & (column < IN_X);
  let at = ((image * IN_Y + y) * IN_X + column) * IN_C + channel;
  return Place(select(0u, at, inside), inside);
}

// What x has at four places, or at one and the three channels after it.
// if X_BY_FOUR
fn four_at(p: Place) -> vec4f {
  return select(vec4f(), taken_first(vec4f(x[p.at / 4u])), p.inside);
}
// else
fn four_at(p0: Place, p1: Place, p2: Place, p3: Place) -> vec4f {
  let four = vec4f(f32(x[p0.at]), f32(x[p1.at]), f32(x[p2.at]), f32(x[p3.at]));
  return select(vec4f(), taken_first(four),
                vec4<bool>(p0.inside, p1.inside, p2.inside, p3.inside));
}
// end
