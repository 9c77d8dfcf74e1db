// The gradient of avg_pool: each cell gathers its share of g from the windows it is in, in row
// order. One invocation a cell.

// include "include/pool.wgsl"

@group(0) @binding(0) var<storage, read> g: array<element>;
@group(0) @binding(1) var<storage, read_write> out: array<element>;

@compute @workgroup_size(LANES)
fn main(@builtin(workgroup_id) block: vec3u, @builtin(num_workgroups) blocks: vec3u,
        @builtin(local_invocation_index) lane: u32) {
  let at = (block.y * blocks.x + block.x) * LANES + lane;
  let cell = place_of(at, H, W);
  if (cell.image >= N) { return; }
  let down = windows_of(cell.row, KH, SH, PT, OH);
  let across = windows_of(cell.column, KW, SW, PL, OW);
  var sum = 0.0;
  for (var i = down.begin; i < down.end; i++) {
    let rows = cells_of(i, KH, SH, PT, H);
    for (var j = across.begin; j < across.end; j++) {
      let columns = cells_of(j, KW, SW, PL, W);
      let count = (rows.end - rows.begin) * (columns.end - columns.begin);
      sum += f32(g[window_at(cell, i, j)]) / f32(count);
    }
  }
  out[at] = element(sum);
}
