// The rows that scatter_rows.wgsl leaves out. Among the COUNT items each has one whose number is a
// multiple of LONG: the workgroups of the first of them take the row, COLUMNS elements each. The
// lanes share what there is to add up for an element, and add up what they have in a fixed tree.

// include "include/sorted_updates.wgsl"

override COUNT: u32;
override COLUMNS: u32;
const STRIPS: u32 = (INNER + COLUMNS - 1) / COLUMNS;

// include "include/workgroup_sum.wgsl"

@compute @workgroup_size(LANES)
fn main(@builtin(workgroup_id) group: vec3u, @builtin(num_workgroups) groups: vec3u,
        @builtin(local_invocation_index) lane: u32) {
  let unit = group.y * groups.x + group.x;
  let first = unit / STRIPS * LONG;
  let column = unit % STRIPS * COLUMNS + lane % COLUMNS;
  var row = ROWS;
  if (first < COUNT) { row = items[first].y; }
  var begin = 0u;
  var end = 0u;
  if (row < ROWS) {
    begin = starts[row];
    end = starts[row + 1];
  }
  // All lanes go on, so that they meet at the barriers.
  let mine = column < INNER && end - begin > LONG && first - begin < LONG;
  var sum = element();
  if (mine) {
    for (var p = begin + lane / COLUMNS; p < end; p += LANES / COLUMNS) {
      sum += updates[items[p].x * INNER + column];
    }
  }
  sum = lanes_sum(sum, lane, COLUMNS);
  if (mine && lane < COLUMNS) { out[row * INNER + column] = sum; }
}
