// Sums over the lanes of a workgroup, in a fixed tree.

var<workgroup> sums: array<element, LANES>;

// For each of the first `stride` lanes, a power of two, the sum over the lanes lane + n * stride.
fn workgroup_sum(x: element, lane: u32, stride: u32) -> element {
  sums[lane] = x;
  for (var half = LANES / 2; half >= stride; half /= 2) {
    workgroupBarrier();
    if (lane < half) { sums[lane] += sums[lane + half]; }
  }
  return sums[lane];
}
