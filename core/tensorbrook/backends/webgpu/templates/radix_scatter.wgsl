// The items (ROWS, N) in the stable order of one digit of their keys. A workgroup places one part,
// tile by tile; starts (ROWS, PARTS, DIGITS) says where its items with each digit go.

@group(0) @binding(0) var<storage, read> items: array<vec2u>;
@group(0) @binding(1) var<storage, read> starts: array<u32>;
@group(0) @binding(2) var<storage, read_write> out: array<vec2u>;

// include "include/radix_digits.wgsl"

const WORDS: u32 = DIGITS / 32;             // a bit for each lane

var<workgroup> at: array<u32, DIGITS>;      // where the next item with each digit goes
var<workgroup> having: array<atomic<u32>, DIGITS * WORDS>;      // which lanes have each digit

// How many lanes before this one have the same digit.
fn rank(digit: u32, lane: u32) -> u32 {
  var before = 0u;
  for (var word = 0u; word < lane / 32; word++) {
    before += countOneBits(atomicLoad(&having[digit * WORDS + word]));
  }
  let own = atomicLoad(&having[digit * WORDS + lane / 32]);
  return before + countOneBits(own & ((1u << (lane % 32)) - 1));
}

@compute @workgroup_size(DIGITS)
fn main(@builtin(workgroup_id) group: vec3u, @builtin(num_workgroups) groups: vec3u,
        @builtin(local_invocation_index) lane: u32) {
  let unit = group.y * groups.x + group.x;
  if (unit >= ROWS * PARTS) { return; }
  let row = unit / PARTS * N;
  let end = begin_of(unit % PARTS + 1);
  at[lane] = starts[unit * DIGITS + lane];
  // Not every implementation hands memory over cleared.
  for (var word = 0u; word < WORDS; word++) { atomicStore(&having[lane * WORDS + word], 0u); }
  workgroupBarrier();
  for (var tile = begin_of(unit % PARTS); tile < end; tile += DIGITS) {
    let inside = tile + lane < end;
    var item = vec2u();
    if (inside) { item = items[row + tile + lane]; }
    let digit = digit_of(item.y);
    if (inside) { atomicOr(&having[digit * WORDS + lane / 32], 1u << (lane % 32)); }
    workgroupBarrier();
    if (inside) { out[row + at[digit] + rank(digit, lane)] = item; }
    workgroupBarrier();
    for (var word = 0u; word < WORDS; word++) {
      at[lane] += countOneBits(atomicExchange(&having[lane * WORDS + word], 0u));
    }
    workgroupBarrier();
  }
}
