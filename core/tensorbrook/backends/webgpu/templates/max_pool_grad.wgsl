// The gradient of max_pool: each pixel sums g over the windows whose maximum it is, in row order.
// `argmax` is the pixel of each window's maximum. One invocation per pixel.

// include "include/pool.wgsl"

@group(0) @binding(0) var<storage, read> g: array<element>;
@group(0) @binding(1) var<storage, read> argmax: array<u32>;
@group(0) @binding(2) var<storage, read_write> out: array<element>;

@compute @workgroup_size(LANES)
fn main(@builtin(workgroup_id) block: vec3u, @builtin(num_workgroups) blocks: vec3u,
        @builtin(local_invocation_index) lane: u32) {
  let index = (block.y * blocks.x + block.x) * LANES + lane;
  let pixel = coordinates_of(index, H, W);
  if (pixel.image >= N) { return; }
  let window_rows = windows_of(pixel.row, KH, SH, PT, OH);
  let window_columns = windows_of(pixel.column, KW, SW, PL, OW);
  var sum = 0.0;
  for (var i = window_rows.begin; i < window_rows.end; i++) {
    for (var j = window_columns.begin; j < window_columns.end; j++) {
      let window = window_index(pixel, i, j);
      if (argmax[window] == pixel.row * W + pixel.column) { sum += f32(g[window]); }
    }
  }
  out[index] = element(sum);
}
