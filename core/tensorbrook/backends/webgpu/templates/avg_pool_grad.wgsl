// The gradient of avg_pool: each cell gathers its share of g from the windows it is in, in row
// order. One invocation a cell.

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
@group(0) @binding(1) var<storage, read_write> out: array<element>;

// Of the windows along an axis, the first one that a cell is in.
fn first_window(cell: u32, size: u32, stride: u32) -> u32 {
  return select(0u, (cell - size) / stride + 1, cell >= size);
}

// How many cells of a window lie inside along an axis.
fn inside(window: u32, size: u32, stride: u32, padding: u32, end: u32) -> u32 {
  let begin = i32(window * stride) - i32(padding);
  return u32(min(begin + i32(size), i32(end)) - max(begin, 0));
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
      let cells = inside(i, KH, SH, PT, H) * inside(j, KW, SW, PL, W);
      sum += f32(g[((line / H * OH + i) * OW + j) * C + channel]) / f32(cells);
    }
  }
  out[at] = element(sum);
}
