// Direct filter gradient of a convolution, for groups of few channels: out[tap and channel, column]
// = the sum over pixels of the pixel's window in x, at this tap and channel, times g; one element
// per invocation. The sums are long and the results few, so the pixels are split; `out` has a
// partial result for each of SPLIT_K splits. IS_VEC4, for depthwise convolutions: an invocation
// computes four columns.

alias first_type = f32;
alias second_type = f32;
alias sum_type = f32;

// include "include/convolution.wgsl"

override SPLIT_K: u32;
override LANES: u32;

const ROWS = TAPS_Y * TAPS_X * CHANNELS;
const PIXELS = N * OUT_Y * OUT_X;
const PIXELS_PER_SPLIT = (PIXELS + SPLIT_K - 1) / SPLIT_K;

// if IS_VEC4
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

fn store(row: u32, column: u32, value: f32) { out[row * OUT_C + column] = sum_type(value); }

@compute @workgroup_size(LANES)
fn main(@builtin(workgroup_id) block: vec3u, @builtin(num_workgroups) blocks: vec3u,
        @builtin(local_invocation_index) lane: u32) {
  let index = ((block.y * blocks.x + block.x) * LANES + lane) * WIDTH;
  let column = index % OUT_C;
  let row = index / OUT_C % ROWS;
  let split = index / OUT_C / ROWS;
  if (split >= SPLIT_K) { return; }
  let tap = row / CHANNELS;
  let channel = column / COLUMNS * CHANNELS + row % CHANNELS;

  // if IS_VEC4
  var sum = vec4f();
  // else
  var sum = 0.0;
  // end
  for (var pixel = split * PIXELS_PER_SPLIT;
       pixel < min((split + 1) * PIXELS_PER_SPLIT, PIXELS); pixel++) {
    let line = pixel / OUT_X;
    // Coordinates above and left of x wrap around.
    let in_y = line % OUT_Y * STRIDE_Y + tap / TAPS_X * DILATION_Y - PADDING_Y;
    let in_x = pixel % OUT_X * STRIDE_X + tap % TAPS_X * DILATION_X - PADDING_X;
    if (in_y >= IN_Y || in_x >= IN_X) { continue; }
    let x_index = ((line / OUT_Y * IN_Y + in_y) * IN_X + in_x) * IN_C + channel;
    let g_index = pixel * OUT_C + column;
    // if IS_VEC4
    sum += load_first(vec4f(x[x_index / 4])) * load_second(vec4f(g[g_index / 4]));
    // else
    let element = load_first(vec4f(f32(x[x_index]))).x;
    sum += element * load_second(vec4f(f32(g[g_index]))).x;
    // end
  }
  // if IS_VEC4
  for (var i = 0u; i < 4; i++) { store(split * ROWS + row, column + i, sum[i]); }
  // else
  store(split * ROWS + row, column, sum);
  // end
}
