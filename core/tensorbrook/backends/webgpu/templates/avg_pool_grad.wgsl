// The gradient of avg_pool: each cell gathers its share of g from the windows it is in, in row
// order. One invocation a cell.

// include "pieces/pool.wgsl"

@group(0) @binding(0) var<storage, read> g: array<element>;
@group(0) @binding(1) var<storage, read_write> out: array<element>;

@compute @workgroup_size(LANES)
fn main(@builtin(workgroup_id) block: vec3u, @builtin(num_workgroups) blocks: vec3u,
        @builtin(local_invocation_index) lane: u32) {
  let at = (block.y * blocks.x + block.x) * LANES + lane;
  let channel = at % C;
  let line = at / C / W;
  if (line >= N * H) { return; }
  let down = windows_of(line % H, KH, SH, PT, OH);
  let across = windows_of(at / C % W, KW, SW, PL, OW);
  var sum = 0.0;
  for (var i = down.begin; i < down.end; i++) {
    let rows = cells_of(i, KH, SH, PT, H);
    for (var j = across.begin; j < across.end; j++) {
      let columns = cells_of(j, KW, SW, PL, W);
      let cells = (rows.end - rows.begin) * (columns.end - columns.begin);
      sum += f32(g[((line / H * OH + i) * OW + j) * C + channel]) / f32(cells);
    }
  }
  out[at] = element(sum);
}
