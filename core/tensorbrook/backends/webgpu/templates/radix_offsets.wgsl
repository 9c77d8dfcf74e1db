// Where the items of each part with each digit go within their row: after all lower digits, and
// after those of the parts before it. A workgroup takes a row, a lane a digit.

@group(0) @binding(0) var<storage, read> counts: array<u32>;
@group(0) @binding(1) var<storage, read_write> starts: array<u32>;

override ROWS: u32;
override PARTS: u32;
override BITS: u32;          // of a digit
const DIGITS = 1u << BITS;

var<workgroup> lower: array<u32, DIGITS>;

@compute @workgroup_size(DIGITS)
fn main(@builtin(workgroup_id) group: vec3u, @builtin(num_workgroups) groups: vec3u,
        @builtin(local_invocation_index) digit: u32) {
  let row = group.y * groups.x + group.x;
  if (row >= ROWS) { return; }
  let first = row * PARTS * DIGITS + digit;
  var all = 0u;
  for (var part = 0u; part < PARTS; part++) { all += counts[first + part * DIGITS]; }
  lower[digit] = all;
  workgroupBarrier();
  for (var reach = 1u; reach < DIGITS; reach *= 2) {
    let before = select(0u, lower[max(digit, reach) - reach], digit >= reach);
    workgroupBarrier();
    lower[digit] += before;
    workgroupBarrier();
  }
  var at = lower[digit] - all;
  for (var part = 0u; part < PARTS; part++) {
    starts[first + part * DIGITS] = at;
    at += counts[first + part * DIGITS];
  }
}
