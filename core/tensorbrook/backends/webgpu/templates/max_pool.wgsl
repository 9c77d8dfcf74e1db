// The maximum of each window of x, or what y holds there (SELECT), or where it is (WINNER): the
// index of the cell among those of an image, or one beyond any. SPREAD, where windows lie side by
// side and cover x, gives each cell what g holds for its window if it is the maximum, else 0. A NaN
// wins, then the largest, then the first in row order. One invocation a window and channel.

// include "include/pool.wgsl"

const NOWHERE = 0xffffffffu;

@group(0) @binding(0) var<storage, read> x: array<element>;
// if SELECT
@group(0) @binding(1) var<storage, read> y: array<element>;
// end
// if SPREAD
@group(0) @binding(1) var<storage, read> g: array<element>;
// end
// if WINNER
@group(0) @binding(2) var<storage, read_write> out: array<u32>;
// else
@group(0) @binding(2) var<storage, read_write> out: array<element>;
// end

// A whole number that orders as floats do, -0 like 0, NaN above all: WGSL's own comparisons may
// assume that there is no NaN.
fn rank(value: f32) -> i32 {
  let bits = bitcast<i32>(value);
  let size = bits & 0x7fffffff;
  if (size > 0x7f800000) { return 0x7fffffff; }
  return select(size, -size, bits < 0);
}

fn winner(window: Place, rows: Span, columns: Span) -> u32 {
  var best = NOWHERE;
  var highest = 0;
  for (var i = rows.begin; i < rows.end; i++) {
    for (var j = columns.begin; j < columns.end; j++) {
      let height = rank(f32(x[cell_at(window, i, j)]));
      if (best == NOWHERE || height > highest) {
        best = i * W + j;
        highest = height;
      }
    }
  }
  return best;
}

@compute @workgroup_size(LANES)
fn main(@builtin(workgroup_id) block: vec3u, @builtin(num_workgroups) blocks: vec3u,
        @builtin(local_invocation_index) lane: u32) {
  let at = (block.y * blocks.x + block.x) * LANES + lane;
  let window = place_of(at, OH, OW);
  if (window.image >= N) { return; }
  let rows = cells_of(window.row, KH, SH, PT, H);
  let columns = cells_of(window.column, KW, SW, PL, W);
  let best = winner(window, rows, columns);
  // if WINNER
  out[at] = best;
  // end
  // if SPREAD
  for (var i = rows.begin; i < rows.end; i++) {
    for (var j = columns.begin; j < columns.end; j++) {
      out[cell_at(window, i, j)] = select(0, g[at], i * W + j == best);
    }
  }
  // end
  let chosen = cell_at(window, 0, min(best, H * W - 1));
  // if SELECT
  out[at] = select(y[chosen], 0, best == NOWHERE);
  // end
  // if MAXIMUM
  var lowest = 0xff800000u;                              // a constant may not be infinite
  out[at] = select(x[chosen], element(bitcast<f32>(lowest)), best == NOWHERE);
  // end
}
