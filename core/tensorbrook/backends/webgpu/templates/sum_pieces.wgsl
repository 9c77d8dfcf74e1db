// The sum of PARTS matrices of COUNT elements: out[i] = the sum of pieces[part, i]. A
// workgroup adds up COLUMNS elements; LINES invocations share the parts of each, as a fixed tree.

alias element = f32;

override PARTS: u32 = 2;
override COUNT: u32 = 4;
override WIDTH: u32 = 4;                 // of a matrix, in elements
override COLUMNS: u32 = 256;
override LINES: u32 = 1;                 // a power of two

@group(0) @binding(0) var<storage, read> pieces: array<f32>;
@group(0) @binding(1) var<storage, read_write> out: array<element>;

var<workgroup> sums: array<f32, LINES * COLUMNS>;

fn put(row: u32, column: u32, value: f32) { out[row * WIDTH + column] = element(value); }

@compute @workgroup_size(LINES * COLUMNS)
fn main(@builtin(workgroup_id) block: vec3u, @builtin(num_workgroups) blocks: vec3u,
        @builtin(local_invocation_index) lane: u32) {
  let at = (block.y * blocks.x + block.x) * COLUMNS + lane % COLUMNS;
  var sum = 0.0;
  if (at < COUNT) {
    for (var part = lane / COLUMNS; part < PARTS; part += LINES) { sum += pieces[part * COUNT + at]; }
  }
  sums[lane] = sum;
  for (var half = LINES / 2; half > 0; half /= 2) {
    workgroupBarrier();
    if (lane < half * COLUMNS) { sums[lane] += sums[lane + half * COLUMNS]; }
  }
  if (lane < COLUMNS && at < COUNT) { put(at / WIDTH, at % WIDTH, sums[lane]); }
}
