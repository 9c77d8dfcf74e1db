// Direct convolution, for groups of few channels: out[pixel, column] = the sum over taps and the
// group's channels of the pixel's window in x times w; one element per invocation. Forward, x is
// the image; TRANSPOSED, for the gradient of the image, x is the gradient of the result. IS_VEC4,
// for depthwise convolutions: an invocation computes four columns.

alias first_type = f32;
alias second_type = f32;
alias sum_type = f32;

// include "include/convolution.wgsl"

override LANES: u32;

// if IS_VEC4
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

fn store(row: u32, column: u32, value: f32) { out[row * OUT_C + column] = sum_type(value); }

// The coordinate in x of a tap of a pixel of out, or one beyond any size if there is none.
// if TRANSPOSED
fn coordinate(pixel: u32, tap: u32, stride: u32, dilation: u32, padding: u32) -> u32 {
  let strided = pixel + padding - tap * dilation;        // wraps around above and left of x
  return select(0xffffffffu, strided / stride, strided < 0x80000000u && strided % stride == 0);
}
// else
fn coordinate(pixel: u32, tap: u32, stride: u32, dilation: u32, padding: u32) -> u32 {
  return pixel * stride + tap * dilation - padding;      // wraps around above and left of x
}
// end

// The sum over the channels of a column's group at a tap; `pixel` is a pixel of x.
// if IS_VEC4
fn product(pixel: u32, tap: u32, column: u32) -> vec4f {
  return load_first(vec4f(x[(pixel * IN_C + column) / 4]))
    * load_second(vec4f(w[(tap * OUT_C + column) / 4]));
}
// else
fn product(pixel: u32, tap: u32, column: u32) -> f32 {
  let group = column / COLUMNS;
  var sum = 0.0;
  for (var channel = 0u; channel < CHANNELS; channel++) {
    // if TRANSPOSED
    let w_index = (tap * COLUMNS + column % COLUMNS) * IN_C + group * CHANNELS + channel;
    // else
    let w_index = (tap * CHANNELS + channel) * OUT_C + column;
    // end
    let element = load_first(vec4f(f32(x[pixel * IN_C + group * CHANNELS + channel]))).x;
    sum += element * load_second(vec4f(f32(w[w_index]))).x;
  }
  return sum;
}
// end

@compute @workgroup_size(LANES)
fn main(@builtin(workgroup_id) block: vec3u, @builtin(num_workgroups) blocks: vec3u,
        @builtin(local_invocation_index) lane: u32) {
  let index = ((block.y * blocks.x + block.x) * LANES + lane) * WIDTH;
  let column = index % OUT_C;
  let pixel = index / OUT_C;
  let line = pixel / OUT_X;
  if (line >= N * OUT_Y) { return; }

  // if IS_VEC4
  var sum = vec4f();
  // else
  var sum = 0.0;
  // end
  for (var i = 0u; i < TAPS_Y; i++) {
    let in_y = coordinate(line % OUT_Y, i, STRIDE_Y, DILATION_Y, PADDING_Y);
    if (in_y >= IN_Y) { continue; }
    for (var j = 0u; j < TAPS_X; j++) {
      let in_x = coordinate(pixel % OUT_X, j, STRIDE_X, DILATION_X, PADDING_X);
      if (in_x >= IN_X) { continue; }
      sum += product((line / OUT_Y * IN_Y + in_y) * IN_X + in_x, i * TAPS_X + j, column);
    }
  }
  // if IS_VEC4
  for (var i = 0u; i < 4; i++) { store(pixel, column + i, sum[i]); }
  // else
  store(pixel, column, sum);
  // end
}
