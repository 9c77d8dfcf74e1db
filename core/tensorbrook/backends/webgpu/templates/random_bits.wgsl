// Philox 4x32-10 (Salmon et al., SC 2011). state = key 0, key 1, counter low, counter high. Words
// 4j..4j+3 of out are the block of counter (counter + j as 64 bits, 0, 0). Exact.

@group(0) @binding(0) var<storage, read> state: array<u32>;
@group(0) @binding(1) var<storage, read_write> out: array<u32>;

override COUNT: u32;
override LANES: u32;
const ROUNDS: u32 = 10;
// The multipliers and the increments of the key, from the paper.
const MULTIPLIER_0 = 0xD2511F53u;
const MULTIPLIER_1 = 0xCD9E8D57u;
const KEY_STEP_0 = 0x9E3779B9u;
const KEY_STEP_1 = 0xBB67AE85u;

// The high word of a product, from 16-bit halves: WGSL has no 64-bit integers.
fn mul_high(a: u32, b: u32) -> u32 {
  let a0 = a & 0xFFFFu;
  let a1 = a >> 16;
  let b0 = b & 0xFFFFu;
  let b1 = b >> 16;
  let first = a1 * b0 + ((a0 * b0) >> 16);
  let second = a0 * b1 + (first & 0xFFFFu);
  return a1 * b1 + (first >> 16) + (second >> 16);
}

fn philox(block: u32) -> vec4u {
  let low = state[2] + block;
  var c = vec4u(low, state[3] + u32(low < block), 0, 0);
  var key = vec2u(state[0], state[1]);
  for (var round = 0u; round < ROUNDS; round++) {
    c = vec4u(mul_high(MULTIPLIER_1, c.z) ^ c.y ^ key.x, MULTIPLIER_1 * c.z,
              mul_high(MULTIPLIER_0, c.x) ^ c.w ^ key.y, MULTIPLIER_0 * c.x);
    key += vec2u(KEY_STEP_0, KEY_STEP_1);
  }
  return c;
}

@compute @workgroup_size(LANES)
fn main(@builtin(workgroup_id) group: vec3u, @builtin(num_workgroups) groups: vec3u,
        @builtin(local_invocation_index) lane: u32) {
  let block = (group.y * groups.x + group.x) * LANES + lane;
  if (block >= (COUNT + 3) / 4) { return; }
  let words = philox(block);
  for (var i = 0u; i < min(4u, COUNT - 4 * block); i++) { out[4 * block + i] = words[i]; }
}
