// Updates whose `items` are in the order of the rows they are for: row r has those from starts[r]
// up to starts[r + 1].

alias element = f32;

override ROWS: u32;
override INNER: u32;
override LONG: u32;         // rows of more updates than that are shared by lanes
override LANES: u32;

@group(0) @binding(0) var<storage, read> updates: array<element>;
@group(0) @binding(1) var<storage, read> items: array<vec2u>;
@group(0) @binding(2) var<storage, read> starts: array<u32>;
@group(0) @binding(3) var<storage, read_write> out: array<element>;
