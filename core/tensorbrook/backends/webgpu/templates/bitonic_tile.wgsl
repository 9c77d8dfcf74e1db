// The first K of each tile in order. A row has TILES tiles of TILE, a power of two; each workgroup
// takes as many tiles as fit into SPAN. They are numbers of `x` (ROWS, N) if FIRST, else items
// (ROWS, COUNT) that earlier tiles have left. What is left are items (ROWS, TILES, K), or if LAST,
// where a row is one tile, the numbers and their places.

// if X
@group(0) @binding(0) var<storage, read> x: array<u32>;
// end
// if FIRST
// else
@group(0) @binding(1) var<storage, read> items: array<vec2u>;
// end
// if LAST
@group(0) @binding(2) var<storage, read_write> values: array<u32>;
@group(0) @binding(3) var<storage, read_write> places: array<u32>;
// else
@group(0) @binding(2) var<storage, read_write> out: array<vec2u>;
// end

override ROWS: u32;
override N: u32;
override COUNT: u32;
override TILES: u32;
override TILE: u32;
override SPAN: u32;
override K: u32;
override LANES: u32;
// include "include/radix_keys.wgsl"

const NOTHING = vec2u(0xffffffffu, 0xffffffffu);        // comes after all items

var<workgroup> span: array<vec2u, SPAN>;

fn item_of(tile: u32, i: u32) -> vec2u {
  let row = tile / TILES;
  let at = tile % TILES * TILE + i;
  if (row >= ROWS || at >= COUNT) { return NOTHING; }
  // if FIRST
  return vec2u(at, key_of(x[row * N + at]));
  // else
  return items[row * COUNT + at];
  // end
}

// Put the lower of two items first.
fn order(i: u32, j: u32) {
  let a = span[i];
  let b = span[j];
  if (b.y < a.y || (b.y == a.y && b.x < a.x)) {
    span[i] = b;
    span[j] = a;
  }
}

// Batcher's bitonic network: runs that are in order become ones of twice the length, first by what
// lies at the same distance from both ends.
fn sort_tiles(lane: u32) {
  for (var run = 2u; run <= TILE; run *= 2) {
    for (var half = run / 2; half > 0; half /= 2) {
      workgroupBarrier();
      for (var pair = lane; pair < SPAN / 2; pair += LANES) {
        let i = 2 * pair - pair % half;
        order(i, select(i + half, i ^ (run - 1), 2 * half == run));
      }
    }
  }
  workgroupBarrier();
}

fn put(tile: u32, i: u32, item: vec2u) {
  // if LAST
  values[tile * K + i] = x[tile * N + item.x];
  places[tile * K + i] = item.x;
  // else
  out[tile * K + i] = item;
  // end
}

@compute @workgroup_size(LANES)
fn main(@builtin(workgroup_id) group: vec3u, @builtin(num_workgroups) groups: vec3u,
        @builtin(local_invocation_index) lane: u32) {
  let first = (group.y * groups.x + group.x) * (SPAN / TILE);
  for (var i = lane; i < SPAN; i += LANES) { span[i] = item_of(first + i / TILE, i % TILE); }
  sort_tiles(lane);
  for (var i = lane; i < SPAN; i += LANES) {
    let tile = first + i / TILE;
    if (tile < ROWS * TILES && i % TILE < K) { put(tile, i % TILE, span[i]); }
  }
}
