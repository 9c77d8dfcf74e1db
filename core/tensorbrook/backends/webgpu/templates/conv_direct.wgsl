// A convolution of few channels a group, element by element: out[pixel, column] = the sum over taps
// and the group's channels of x where the tap of the pixel lies, times w. Forward x is the image;
// TURNED, for the gradient of the image, x is the gradient of the result. BY_FOUR, where every
// group is one channel of both (depthwise), an invocation makes four columns.

alias first_type = f32;
alias second_type = f32;
alias sum_type = f32;

// include "include/convolution.wgsl"

override LANES: u32;

// if BY_FOUR
const WIDTH = 4u;
@group(0) @binding(0) var<storage, read> x: array<vec4<first_type>>;
@group(0) @binding(1) var<storage, read> w: array<vec4<second_type>>;
// else
const WIDTH = 1u;
@group(0) @binding(0) var<storage, read> x: array<first_type>;
@group(0) @binding(1) var<storage, read> w: array<second_type>;
// end
@group(0) @binding(2) var<storage, read_write> out: array<sum_type>;

// include "include/operand_load.wgsl"

fn put(row: u32, column: u32, value: f32) { out[row * OUT_C + column] = sum_type(value); }

// The row or column of x that a pixel of out meets at a tap, or one beyond any size.
// if TURNED
fn meet(pixel: u32, tap: u32, stride: u32, dilation: u32, padding: u32) -> u32 {
  let way = pixel + padding - tap * dilation;            // wraps around above and left of x
  return select(0xffffffffu, way / stride, way < 0x80000000u && way % stride == 0);
}
// else
fn meet(pixel: u32, tap: u32, stride: u32, dilation: u32, padding: u32) -> u32 {
  return pixel * stride + tap * dilation - padding;      // wraps around above and left of x
}
// end

// What the channels that a column is connected with add at a tap; `at` is a pixel of x.
// if BY_FOUR
fn product(at: u32, tap: u32, column: u32) -> vec4f {
  return taken_first(vec4f(x[(at * IN_C + column) / 4]))
    * taken_second(vec4f(w[(tap * OUT_C + column) / 4]));
}
// else
fn product(at: u32, tap: u32, column: u32) -> f32 {
  let group = column / COLUMNS;
  var sum = 0.0;
  for (var channel = 0u; channel < CHANNELS; channel++) {
    // if TURNED
    let with_x = (tap * COLUMNS + column % COLUMNS) * IN_C + group * CHANNELS + channel;
    // else
    let with_x = (tap * CHANNELS + channel) * OUT_C + column;
    // end
    let here = taken_first(vec4f(f32(x[at * IN_C + group * CHANNELS + channel]))).x;
    sum += here * taken_second(vec4f(f32(w[with_x]))).x;
  }
  return sum;
}
// end

@compute @workgroup_size(LANES)
fn main(@builtin(workgroup_id) block: vec3u, @builtin(num_workgroups) blocks: vec3u,
        @builtin(local_invocation_index) lane: u32) {
  let at = ((block.y * blocks.x + block.x) * LANES + lane) * WIDTH;
  let column = at % OUT_C;
  let pixel = at / OUT_C;
  let line = pixel / OUT_X;
  if (line >= N * OUT_Y) { return; }

  // if BY_FOUR
  var sum = vec4f();
  // else
  var sum = 0.0;
  // end
  for (var i = 0u; i < TAPS_Y; i++) {
    let in_y = meet(line % OUT_Y, i, STRIDE_Y, DILATION_Y, PADDING_Y);
    if (in_y >= IN_Y) { continue; }
    for (var j = 0u; j < TAPS_X; j++) {
      let in_x = meet(pixel % OUT_X, j, STRIDE_X, DILATION_X, PADDING_X);
      if (in_x >= IN_X) { continue; }
      sum += product((line / OUT_Y * IN_Y + in_y) * IN_X + in_x, i * TAPS_X + j, column);
    }
  }
  // if BY_FOUR
  for (var i = 0u; i < 4; i++) { put(pixel, column + i, sum[i]); }
  // else
  put(pixel, column, sum);
  // end
}
