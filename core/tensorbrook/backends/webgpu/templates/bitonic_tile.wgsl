// Bitonic sort of tiles in workgroup memory, of which the first K items are kept. A row has TILES
// tiles of TILE items, a power of two; a workgroup sorts GROUP_ITEMS / TILE tiles. FIRST: the items
// are made from `x` (ROWS, N); otherwise they are items (ROWS, COUNT) of an earlier dispatch. LAST:
// a row is one tile, and the result is elements and indices; otherwise it is items (ROWS, TILES,
// K).

// if X
@group(0) @binding(0) var<storage, read> x: array<u32>;
// end
// if FIRST
// else
@group(0) @binding(1) var<storage, read> items: array<vec2u>;
// end
// if LAST
@group(0) @binding(2) var<storage, read_write> values: array<u32>;
@group(0) @binding(3) var<storage, read_write> indices: array<u32>;
// else
@group(0) @binding(2) var<storage, read_write> out: array<vec2u>;
// end

override ROWS: u32;
override N: u32;
override COUNT: u32;
override TILES: u32;
override TILE: u32;
override GROUP_ITEMS: u32;
override K: u32;
override LANES: u32;
// include "include/radix_keys.wgsl"

const NO_ITEM = vec2u(0xffffffffu, 0xffffffffu);        // after all items

var<workgroup> group_items: array<vec2u, GROUP_ITEMS>;

fn load_item(tile: u32, i: u32) -> vec2u {
  let row = tile / TILES;
  let in_row = tile % TILES * TILE + i;
  if (row >= ROWS || in_row >= COUNT) { return NO_ITEM; }
  // if FIRST
  return vec2u(in_row, sort_key(x[row * N + in_row]));
  // else
  return items[row * COUNT + in_row];
  // end
}

fn compare_exchange(i: u32, j: u32) {
  let a = group_items[i];
  let b = group_items[j];
  if (b.y < a.y || (b.y == a.y && b.x < a.x)) {
    group_items[i] = b;
    group_items[j] = a;
  }
}

// Batcher's bitonic network: two sorted runs become one of twice the length. The first comparisons
// of a merge pair the items at equal distances from both ends.
fn sort_tiles(lane: u32) {
  for (var run = 2u; run <= TILE; run *= 2) {
    for (var half = run / 2; half > 0; half /= 2) {
      workgroupBarrier();
      for (var pair = lane; pair < GROUP_ITEMS / 2; pair += LANES) {
        let i = 2 * pair - pair % half;
        compare_exchange(i, select(i + half, i ^ (run - 1), 2 * half == run));
      }
    }
  }
  workgroupBarrier();
}

fn store_item(tile: u32, i: u32, item: vec2u) {
  // if LAST
  values[tile * K + i] = x[tile * N + item.x];
  indices[tile * K + i] = item.x;
  // else
  out[tile * K + i] = item;
  // end
}

@compute @workgroup_size(LANES)
fn main(@builtin(workgroup_id) group: vec3u, @builtin(num_workgroups) groups: vec3u,
        @builtin(local_invocation_index) lane: u32) {
  let first = (group.y * groups.x + group.x) * (GROUP_ITEMS / TILE);
  for (var i = lane; i < GROUP_ITEMS; i += LANES) {
    group_items[i] = load_item(first + i / TILE, i % TILE);
  }
  sort_tiles(lane);
  for (var i = lane; i < GROUP_ITEMS; i += LANES) {
    let tile = first + i / TILE;
    if (tile < ROWS * TILES && i % TILE < K) { store_item(tile, i % TILE, group_items[i]); }
  }
}
