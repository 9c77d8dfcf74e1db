// The gradient of avg_pool: each pixel sums g / count over its windows, in row order. One
// invocation per pixel.

// include "include/pool.wgsl"

@group(0) @binding(0) var<storage, read> g: array<element>;
@group(0) @binding(1) var<storage, read_write> out: array<element>;

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
    let rows = pixels_of(i, KH, SH, PT, H);
    for (var j = window_columns.begin; j < window_columns.end; j++) {
      let columns = pixels_of(j, KW, SW, PL, W);
      let count = (rows.end - rows.begin) * (columns.end - columns.begin);
      sum += f32(g[window_index(pixel, i, j)]) / f32(count);
    }
  }
  out[index] = element(sum);
}
