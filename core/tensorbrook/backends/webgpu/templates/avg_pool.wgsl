// The mean of the cells of each window that lie inside of x; 0 if none does. One invocation an
// element of out.

// include "pieces/pool.wgsl"

@group(0) @binding(0) var<storage, read> x: array<element>;
@group(0) @binding(1) var<storage, read_write> out: array<element>;

@compute @workgroup_size(LANES)
fn main(@builtin(workgroup_id) block: vec3u, @builtin(num_workgroups) blocks: vec3u,
        @builtin(local_invocation_index) lane: u32) {
  let at = (block.y * blocks.x + block.x) * LANES + lane;
  let channel = at % C;
  let line = at / C / OW;
  if (line >= N * OH) { return; }
  let down = cells_of(line % OH, KH, SH, PT, H);
  let across = cells_of(at / C % OW, KW, SW, PL, W);
  var sum = 0.0;
  for (var i = down.begin; i < down.end; i++) {
    for (var j = across.begin; j < across.end; j++) {
      sum += f32(x[((line / OH * H + i) * W + j) * C + channel]);
    }
  }
  let count = (down.end - down.begin) * (across.end - across.begin);
  out[at] = element(sum / f32(max(count, 1)));
}
