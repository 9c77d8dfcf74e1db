// Probe of whether neighbouring invocations share a subgroup: sizes[i] is the size of invocation
// i's subgroup, or 0 if a shuffle does not return the expected invocation's value.

@group(0) @binding(0) var<storage, read_write> sizes: array<u32>;

override LANES: u32;

@compute @workgroup_size(LANES)
fn main(@builtin(local_invocation_index) lane: u32, @builtin(subgroup_size) subgroup_size: u32) {
  var matches = true;
  for (var d = 1u; d < min(subgroup_size, LANES); d *= 2u) {
    let other = subgroupShuffleXor(lane, d);
    matches = matches && other == (lane ^ d);
  }
  sizes[lane] = select(0u, subgroup_size, matches);
}
