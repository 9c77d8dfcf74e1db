// Average pooling: the mean of the pixels of each window that are inside of x; 0 if there are none.
// One invocation per element of out.

// include "include/pool.wgsl"

@group(0) @binding(0) var<storage, read> x: array<element>;
@group(0) @binding(1) var<storage, read_write> out: array<element>;

@compute @workgroup_size(LANES)
fn main(@builtin(workgroup_id) block: vec3u, @builtin(num_workgroups) blocks: vec3u,
        @builtin(local_invocation_index) lane: u32) {
  let index = (block.y * blocks.x + block.x) * LANES + lane;
  let window = coordinates_of(index, OH, OW);
  if (window.image >= N) { return; }
  let rows = pixels_of(window.row, KH, SH, PT, H);
  let columns = pixels_of(window.column, KW, SW, PL, W);
  var sum = 0.0;
  for (var i = rows.begin; i < rows.end; i++) {
    for (var j = columns.begin; j < columns.end; j++) { sum += f32(x[pixel_index(window, i, j)]); }
  }
  let count = (rows.end - rows.begin) * (columns.end - columns.begin);
  out[index] = element(sum / f32(max(count, 1)));
}
