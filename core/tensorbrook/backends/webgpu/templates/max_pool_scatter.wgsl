// The gradient of max_pool in x: each cell gathers g from the windows whose maximum it is, in row
// order. One invocation a cell. `winners` tells of each window which cell that is.

alias element = f32;

override N: u32 = 1;
override H: u32 = 8;
override W: u32 = 8;
override C: u32 = 4;
override OH: u32 = 4;
override OW: u32 = 4;
override KH: u32 = 2;
override KW: u32 = 2;
override SH: u32 = 2;
override SW: u32 = 2;
override PT: u32 = 0;
override PL: u32 = 0;

const LANES = 64u;

@group(0) @binding(0) var<storage, read> g: array<element>;
@group(0) @binding(1) var<storage, read> winners: array<u32>;
@group(0) @binding(2) var<storage, read_write> out: array<element>;

// Of the windows along an axis, the first one that a cell is in.
fn first_window(cell: u32, size: u32, stride: u32) -> u32 {
  return select(0u, (cell - size) / stride + 1, cell >= size);
}

@compute @workgroup_size(LANES)
fn main(@builtin(workgroup_id) block: vec3u, @builtin(num_workgroups) blocks: vec3u,
        @builtin(local_invocation_index) lane: u32) {
  let at = (block.y * blocks.x + block.x) * LANES + lane;
  let channel = at % C;
  let line = at / C / W;
  if (line >= N * H) { return; }
  let y = line % H;
  let column = at / C % W;
  var sum = 0.0;
  for (var i = first_window(y + PT, KH, SH); i < min((y + PT) / SH + 1, OH); i++) {
    for (var j = first_window(column + PL, KW, SW); j < min((column + PL) / SW + 1, OW); j++) {
      let window = ((line / H * OH + i) * OW + j) * C + channel;
      if (winners[window] == y * W + column) { sum += f32(g[window]); }
    }
  }
  out[at] = element(sum);
}
