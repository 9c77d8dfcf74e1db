// The gradient of max_pool in x: each cell gathers g from the windows whose maximum it is, in row
// order. One invocation a cell. `winners` tells of each window which cell that is.

// include "include/pool.wgsl"

@group(0) @binding(0) var<storage, read> g: array<element>;
@group(0) @binding(1) var<storage, read> winners: array<u32>;
@group(0) @binding(2) var<storage, read_write> out: array<element>;

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
    for (var j = across.begin; j < across.end; j++) {
      let window = window_at(cell, i, j);
      if (winners[window] == cell.row * W + cell.column) { sum += f32(g[window]); }
    }
  }
  out[at] = element(sum);
}
