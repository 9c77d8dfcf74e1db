// Scatter-add of the rows that scatter_sorted_short.wgsl leaves out. Such a row has an item whose
// position is a multiple of MAX_SHORT: the workgroups of the first one sum the row, COLUMNS
// elements each. The lanes of an element sum different updates, and a fixed tree combines them.

// include "include/sorted_updates.wgsl"

override COUNT: u32;
override COLUMNS: u32;
const COLUMN_BLOCKS: u32 = (INNER + COLUMNS - 1) / COLUMNS;

// include "include/workgroup_sum.wgsl"

@compute @workgroup_size(LANES)
fn main(@builtin(workgroup_id) group: vec3u, @builtin(num_workgroups) groups: vec3u,
        @builtin(local_invocation_index) lane: u32) {
  let task = group.y * groups.x + group.x;
  let position = task / COLUMN_BLOCKS * MAX_SHORT;
  let column = task % COLUMN_BLOCKS * COLUMNS + lane % COLUMNS;
  var row = ROWS;
  if (position < COUNT) { row = items[position].y; }
  var begin = 0u;
  var end = 0u;
  if (row < ROWS) {
    begin = starts[row];
    end = starts[row + 1];
  }
  // Every lane continues, so that all reach the barriers.
  let is_active = column < INNER && end - begin > MAX_SHORT && position - begin < MAX_SHORT;
  var sum = element();
  if (is_active) {
    for (var p = begin + lane / COLUMNS; p < end; p += LANES / COLUMNS) {
      sum += updates[items[p].x * INNER + column];
    }
  }
  sum = workgroup_sum(sum, lane, COLUMNS);
  if (is_active && lane < COLUMNS) { out[row * INNER + column] = sum; }
}
