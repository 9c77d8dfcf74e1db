// Prefix sums of the histograms: where in the row the items of each chunk with each digit begin,
// after all lower digits and after the same digit in earlier chunks. One workgroup per row, one
// lane per digit.

@group(0) @binding(0) var<storage, read> counts: array<u32>;
@group(0) @binding(1) var<storage, read_write> starts: array<u32>;

override ROWS: u32;
override CHUNKS: u32;
override BITS: u32;          // of a digit
const DIGITS = 1u << BITS;

var<workgroup> inclusive: array<u32, DIGITS>;

@compute @workgroup_size(DIGITS)
fn main(@builtin(workgroup_id) group: vec3u, @builtin(num_workgroups) groups: vec3u,
        @builtin(local_invocation_index) digit: u32) {
  let row = group.y * groups.x + group.x;
  if (row >= ROWS) { return; }
  let first = row * CHUNKS * DIGITS + digit;
  var total = 0u;
  for (var chunk = 0u; chunk < CHUNKS; chunk++) { total += counts[first + chunk * DIGITS]; }
  inclusive[digit] = total;
  workgroupBarrier();
  for (var distance = 1u; distance < DIGITS; distance *= 2) {
    let lower = select(0u, inclusive[max(digit, distance) - distance], digit >= distance);
    workgroupBarrier();
    inclusive[digit] += lower;
    workgroupBarrier();
  }
  var start = inclusive[digit] - total;
  for (var chunk = 0u; chunk < CHUNKS; chunk++) {
    starts[first + chunk * DIGITS] = start;
    start += counts[first + chunk * DIGITS];
  }
}
