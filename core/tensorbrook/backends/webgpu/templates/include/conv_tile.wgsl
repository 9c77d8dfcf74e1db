// A TILE_ROWS x TILE_COLUMNS tile of a product with gathered windows of x. An invocation computes a
// microtile of MICROTILE_ROWS rows and four columns, in steps of TILE_K along k. `out` has a
// partial result for each of SPLIT_K splits of k.

override SPLIT_K: u32;
override TILE_ROWS: u32;
override TILE_COLUMNS: u32;
override TILE_K: u32;
override MICROTILE_ROWS: u32;
// vec4s that an invocation loads in a step: of windows, and of the other factor
override WINDOW_LOADS: u32;
override FACTOR_LOADS: u32;

const LANES_X = TILE_COLUMNS / 4;
const LANES_Y = TILE_ROWS / MICROTILE_ROWS;
const LANES = LANES_X * LANES_Y;
const_assert 4 * WINDOW_LOADS * LANES == TILE_ROWS * TILE_K
    && FACTOR_LOADS * LANES == TILE_K * LANES_X;
const TILES_X = (COLUMNS + TILE_COLUMNS - 1) / TILE_COLUMNS;

// if X_IS_VEC4
@group(0) @binding(0) var<storage, read> x: array<vec4<first_type>>;
// else
@group(0) @binding(0) var<storage, read> x: array<first_type>;
// end
// if OUT_IS_VEC4
@group(0) @binding(2) var<storage, read_write> out: array<vec4<sum_type>>;
// else
@group(0) @binding(2) var<storage, read_write> out: array<sum_type>;
// end

// include "include/operand_load.wgsl"

// Store the in-bounds columns among four of a row of a group's result.
// if OUT_IS_VEC4
fn store_columns(row: u32, group: u32, column: u32, values: vec4f) {
  if (column < COLUMNS) { store_vec4(row, group * COLUMNS + column, values); }
}

fn store_vec4(row: u32, column: u32, values: vec4f) {
  out[(row * OUT_C + column) / 4u] = vec4<sum_type>(values);
}
// else
fn store_columns(row: u32, group: u32, column: u32, values: vec4f) {
  for (var i = 0u; i < min(COLUMNS - min(column, COLUMNS), 4u); i++) {
    store(row, group * COLUMNS + column + i, values[i]);
  }
}

fn store(row: u32, column: u32, value: f32) { out[row * OUT_C + column] = sum_type(value); }
// end

// The offset of an element of a window in x, and whether it is in bounds. Without branches, which
// every unrolled copy would have to compile: an element out of bounds is loaded from offset 0 and
// replaced by 0.
struct Offset { index: u32, inside: bool }

fn pixel_offset(image: u32, y: u32, column: u32, channel: u32, valid: bool) -> Offset {
  let inside = valid & (y < IN_Y) & (column < IN_X);
  let index = ((image * IN_Y + y) * IN_X + column) * IN_C + channel;
  return Offset(select(0u, index, inside), inside);
}

// The elements of x at four offsets, or with X_IS_VEC4 at one offset and the three channels after
// it.
// if X_IS_VEC4
fn load_vec4(p: Offset) -> vec4f {
  return select(vec4f(), load_first(vec4f(x[p.index / 4u])), p.inside);
}
// else
fn load_vec4(p0: Offset, p1: Offset, p2: Offset, p3: Offset) -> vec4f {
  let elements = vec4f(f32(x[p0.index]), f32(x[p1.index]), f32(x[p2.index]), f32(x[p3.index]));
  return select(vec4f(), load_first(elements),
                vec4<bool>(p0.inside, p1.inside, p2.inside, p3.inside));
}
// end
