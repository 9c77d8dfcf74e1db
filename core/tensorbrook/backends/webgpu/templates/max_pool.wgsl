// The maximum of each window of x, or what y holds there (SELECT), or where it is (WINNER): the
// index of the cell among those of an image, or one beyond any. SPREAD, where windows lie side by
// side and cover x, gives each cell what g holds for its window if it is the maximum, else 0. A NaN
// wins, then the largest, then the first in row order. One invocation a window and channel.

alias element = f32;

override N: u32 = 1;
override H: u32 = 8;
override W: u32 = 8;
override C: u32 = 4;
override OH: u32 = 4;
override OW: u32 = 4;
override KH: u32 = 2;
override KW: u32 = 2;
override SH: u32 = 2;
override SW: u32 = 2;
override PT: u32 = 0;
override PL: u32 = 0;

const LANES = 64u;
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

fn winner(image: u32, top: i32, left: i32, channel: u32) -> u32 {
  var best = NOWHERE;
  var highest = 0;
  for (var i = max(top, 0); i < min(top + i32(KH), i32(H)); i++) {
    for (var j = max(left, 0); j < min(left + i32(KW), i32(W)); j++) {
      let cell = u32(i) * W + u32(j);
      let height = rank(f32(x[(image * H * W + cell) * C + channel]));
      if (best == NOWHERE || height > highest) {
        best = cell;
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
  let channel = at % C;
  let line = at / C / OW;
  if (line >= N * OH) { return; }
  let image = line / OH;
  let top = i32(line % OH * SH) - i32(PT);
  let left = i32(at / C % OW * SW) - i32(PL);
  let best = winner(image, top, left, channel);
  // if WINNER
  out[at] = best;
  // end
  // if SPREAD
  for (var i = max(top, 0); i < min(top + i32(KH), i32(H)); i++) {
    for (var j = max(left, 0); j < min(left + i32(KW), i32(W)); j++) {
      let cell = u32(i) * W + u32(j);
      out[(image * H * W + cell) * C + channel] = select(0, g[at], cell == best);
    }
  }
  // end
  let chosen = (image * H * W + min(best, H * W - 1)) * C + channel;
  // if SELECT
  out[at] = select(y[chosen], 0, best == NOWHERE);
  // end
  // if MAXIMUM
  var lowest = 0xff800000u;                              // a constant may not be infinite
  out[at] = select(x[chosen], element(bitcast<f32>(lowest)), best == NOWHERE);
  // end
}
