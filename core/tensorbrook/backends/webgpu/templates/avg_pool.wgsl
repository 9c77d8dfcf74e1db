// The mean of the cells of each window that lie inside of x; 0 if none does. One invocation an
// element of out.

// include "include/pool.wgsl"

@group(0) @binding(0) var<storage, read> x: array<element>;
@group(0) @binding(1) var<storage, read_write> out: array<element>;

@compute @workgroup_size(LANES)
fn main(@builtin(workgroup_id) block: vec3u, @builtin(num_workgroups) blocks: vec3u,
        @builtin(local_invocation_index) lane: u32) {
  let at = (block.y * blocks.x + block.x) * LANES + lane;
  let window = place_of(at, OH, OW);
  if (window.image >= N) { return; }
  let rows = cells_of(window.row, KH, SH, PT, H);
  let columns = cells_of(window.column, KW, SW, PL, W);
  var sum = 0.0;
  for (var i = rows.begin; i < rows.end; i++) {
    for (var j = columns.begin; j < columns.end; j++) { sum += f32(x[cell_at(window, i, j)]); }
  }
  let count = (rows.end - rows.begin) * (columns.end - columns.begin);
  out[at] = element(sum / f32(max(count, 1)));
}
