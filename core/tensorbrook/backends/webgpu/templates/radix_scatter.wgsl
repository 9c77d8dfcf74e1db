// Stable scatter of the items (ROWS, N) by one digit of their keys. A workgroup scatters a chunk in
// tiles of one item per lane; starts (ROWS, CHUNKS, DIGITS) is where its items with each digit
// begin.

@group(0) @binding(0) var<storage, read> items: array<vec2u>;
@group(0) @binding(1) var<storage, read> starts: array<u32>;
@group(0) @binding(2) var<storage, read_write> out: array<vec2u>;

// include "include/radix_digits.wgsl"

const WORDS: u32 = DIGITS / 32;             // of a mask with a bit for each lane

var<workgroup> next: array<u32, DIGITS>;    // where the next item with each digit is stored
var<workgroup> masks: array<atomic<u32>, DIGITS * WORDS>;      // the lanes with each digit

// The number of lanes before this one with the same digit.
fn rank(digit: u32, lane: u32) -> u32 {
  var before = 0u;
  for (var word = 0u; word < lane / 32; word++) {
    before += countOneBits(atomicLoad(&masks[digit * WORDS + word]));
  }
  let last = atomicLoad(&masks[digit * WORDS + lane / 32]);
  return before + countOneBits(last & ((1u << (lane % 32)) - 1));
}

@compute @workgroup_size(DIGITS)
fn main(@builtin(workgroup_id) group: vec3u, @builtin(num_workgroups) groups: vec3u,
        @builtin(local_invocation_index) lane: u32) {
  let chunk = group.y * groups.x + group.x;
  if (chunk >= ROWS * CHUNKS) { return; }
  let row = chunk / CHUNKS * N;
  let end = chunk_begin(chunk % CHUNKS + 1);
  next[lane] = starts[chunk * DIGITS + lane];
  // Some implementations do not zero workgroup memory.
  for (var word = 0u; word < WORDS; word++) { atomicStore(&masks[lane * WORDS + word], 0u); }
  workgroupBarrier();
  for (var tile = chunk_begin(chunk % CHUNKS); tile < end; tile += DIGITS) {
    let inside = tile + lane < end;
    var item = vec2u();
    if (inside) { item = items[row + tile + lane]; }
    let digit = digit_of(item.y);
    if (inside) { atomicOr(&masks[digit * WORDS + lane / 32], 1u << (lane % 32)); }
    workgroupBarrier();
    if (inside) { out[row + next[digit] + rank(digit, lane)] = item; }
    workgroupBarrier();
    for (var word = 0u; word < WORDS; word++) {
      next[lane] += countOneBits(atomicExchange(&masks[lane * WORDS + word], 0u));
    }
    workgroupBarrier();
  }
}
