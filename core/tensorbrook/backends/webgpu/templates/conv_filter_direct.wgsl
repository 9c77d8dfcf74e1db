// The gradient of a convolution's filter, of few channels a group, element by element:
// out[tap and channel, column] = the sum over pixels of x where the tap of the pixel lies, times g.
// The sums are long and the results few, so the pixels are cut into PARTS, one matrix in `out` for
// each. BY_FOUR, where every group is one channel of both (depthwise), an invocation makes four
// columns.

alias first_type = f32;
alias second_type = f32;
alias sum_type = f32;

// include "include/convolution.wgsl"

override PARTS: u32;
override LANES: u32;

const HEIGHT = TAPS_Y * TAPS_X * CHANNELS;
const PIXELS = N * OUT_Y * OUT_X;
const SHARE = (PIXELS + PARTS - 1) / PARTS;

// if BY_FOUR
const WIDTH = 4u;
@group(0) @binding(0) var<storage, read> x: array<vec4<first_type>>;
@group(0) @binding(1) var<storage, read> g: array<vec4<second_type>>;
// else
const WIDTH = 1u;
@group(0) @binding(0) var<storage, read> x: array<first_type>;
@group(0) @binding(1) var<storage, read> g: array<second_type>;
// end
@group(0) @binding(2) var<storage, read_write> out: array<sum_type>;

// include "include/operand_load.wgsl"

fn put(row: u32, column: u32, value: f32) { out[row * OUT_C + column] = sum_type(value); }

@compute @workgroup_size(LANES)
fn main(@builtin(workgroup_id) block: vec3u, @builtin(num_workgroups) blocks: vec3u,
        @builtin(local_invocation_index) lane: u32) {
  let at = ((block.y * blocks.x + block.x) * LANES + lane) * WIDTH;
  let column = at % OUT_C;
  let row = at / OUT_C % HEIGHT;
  let part = at / OUT_C / HEIGHT;
  if (part >= PARTS) { return; }
  let tap = row / CHANNELS;
  let channel = column / COLUMNS * CHANNELS + row % CHANNELS;

  // if BY_FOUR
  var sum = vec4f();
  // else
  var sum = 0.0;
  // end
  for (var pixel = part * SHARE; pixel < min((part + 1) * SHARE, PIXELS); pixel++) {
    let line = pixel / OUT_X;                            // what is above and left wraps around
    let in_y = line % OUT_Y * STRIDE_Y + tap / TAPS_X * DILATION_Y - PADDING_Y;
    let in_x = pixel % OUT_X * STRIDE_X + tap % TAPS_X * DILATION_X - PADDING_X;
    if (in_y >= IN_Y || in_x >= IN_X) { continue; }
    let from_x = ((line / OUT_Y * IN_Y + in_y) * IN_X + in_x) * IN_C + channel;
    let from_g = pixel * OUT_C + column;
    // if BY_FOUR
    sum += taken_first(vec4f(x[from_x / 4])) * taken_second(vec4f(g[from_g / 4]));
    // else
    let here = taken_first(vec4f(f32(x[from_x]))).x;
    sum += here * taken_second(vec4f(f32(g[from_g]))).x;
    // end
  }
  // if BY_FOUR
  for (var i = 0u; i < 4; i++) { put(part * HEIGHT + row, column + i, sum[i]); }
  // else
  put(part * HEIGHT + row, column, sum);
  // end
}
