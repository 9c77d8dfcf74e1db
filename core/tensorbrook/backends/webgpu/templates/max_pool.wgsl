// Max pooling over each window of x. MAXIMUM: the maximum. SELECT: the element of y at the position
// of the maximum. ARGMAX: that position, as an index among the pixels of an image, or NO_PIXEL.
// SCATTER, if windows partition x: each pixel gets the element of g of its window if it is the
// maximum, else 0. NaN is the maximum, then the largest element, then the first in row order. One
// invocation per window and channel.

// include "include/pool.wgsl"

const NO_PIXEL = 0xffffffffu;

@group(0) @binding(0) var<storage, read> x: array<element>;
// if SELECT
@group(0) @binding(1) var<storage, read> y: array<element>;
// end
// if SCATTER
@group(0) @binding(1) var<storage, read> g: array<element>;
// end
// if ARGMAX
@group(0) @binding(2) var<storage, read_write> out: array<u32>;
// else
@group(0) @binding(2) var<storage, read_write> out: array<element>;
// end

// An integer with the order of floats, -0 equal to 0 and NaN above all others: WGSL's own
// comparisons may assume that there is no NaN.
fn order_key(value: f32) -> i32 {
  let bits = bitcast<i32>(value);
  let magnitude = bits & 0x7fffffff;
  if (magnitude > 0x7f800000) { return 0x7fffffff; }
  return select(magnitude, -magnitude, bits < 0);
}

fn argmax(window: Coordinates, rows: Interval, columns: Interval) -> u32 {
  var best = NO_PIXEL;
  var best_key = 0;
  for (var i = rows.begin; i < rows.end; i++) {
    for (var j = columns.begin; j < columns.end; j++) {
      let key = order_key(f32(x[pixel_index(window, i, j)]));
      if (best == NO_PIXEL || key > best_key) {
        best = i * W + j;
        best_key = key;
      }
    }
  }
  return best;
}

@compute @workgroup_size(LANES)
fn main(@builtin(workgroup_id) block: vec3u, @builtin(num_workgroups) blocks: vec3u,
        @builtin(local_invocation_index) lane: u32) {
  let index = (block.y * blocks.x + block.x) * LANES + lane;
  let window = coordinates_of(index, OH, OW);
  if (window.image >= N) { return; }
  let rows = pixels_of(window.row, KH, SH, PT, H);
  let columns = pixels_of(window.column, KW, SW, PL, W);
  let best = argmax(window, rows, columns);
  // if ARGMAX
  out[index] = best;
  // end
  // if SCATTER
  for (var i = rows.begin; i < rows.end; i++) {
    for (var j = columns.begin; j < columns.end; j++) {
      out[pixel_index(window, i, j)] = select(0, g[index], i * W + j == best);
    }
  }
  // end
  let best_index = pixel_index(window, 0, min(best, H * W - 1));
  // if SELECT
  out[index] = select(y[best_index], 0, best == NO_PIXEL);
  // end
  // if MAXIMUM
  var lowest = 0xff800000u;                              // -inf; a constant may not be infinite
  out[index] = select(x[best_index], element(bitcast<f32>(lowest)), best == NO_PIXEL);
  // end
}
