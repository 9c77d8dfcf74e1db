// Updates of a scatter-add, sorted by row: row r has the `items` from starts[r] to starts[r + 1].

alias element = f32;

override ROWS: u32;
override INNER: u32;
override MAX_SHORT: u32;    // updates of a row that one lane sums
override LANES: u32;

@group(0) @binding(0) var<storage, read> updates: array<element>;
@group(0) @binding(1) var<storage, read> items: array<vec2u>;
@group(0) @binding(2) var<storage, read> starts: array<u32>;
@group(0) @binding(3) var<storage, read_write> out: array<element>;
