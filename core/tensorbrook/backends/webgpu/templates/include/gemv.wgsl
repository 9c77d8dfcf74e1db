// COUNT vectors of each item times a matrix. out[i] is (COUNT, WIDTH), or (WIDTH, COUNT) with DOWN.
// As in gemm.wgsl, PARTS parts of k follow each other in `out`.

alias first_type = f32;
alias second_type = f32;
alias sum_type = f32;

override BATCH: u32;
override COUNT: u32;
override WIDTH: u32;
override N: u32;                         // of the result: WIDTH, or COUNT with DOWN
override K: u32;
override DOWN: bool;
override STRIDE_MATRIX: u32;             // numbers from one item's matrix to the next
override STRIDE_VECTORS: u32;
override VECTOR: u32;                    // from one vector to the next
override STEP: u32;                      // from one place of k to the next in a vector
override PARTS: u32;
override SPLIT: u32;                     // of K

// if FOUR
@group(0) @binding(0) var<storage, read> matrix: array<vec4<first_type>>;
// else
@group(0) @binding(0) var<storage, read> matrix: array<first_type>;
// end
@group(0) @binding(2) var<storage, read_write> out: array<sum_type>;

// include "include/operand_load.wgsl"

// Numbers of the matrix that are taken at once.
// if FOUR
const PLACES = 4u;
fn places(at: u32) -> vec4f { return taken_first(vec4f(matrix[at / 4u])); }
// else
const PLACES = 1u;
fn places(at: u32) -> f32 { return taken_first(vec4f(f32(matrix[at]))).x; }
// end

fn put(row: u32, column: u32, value: f32) {
  out[row * N + column] = sum_type(value);
}

// A number of what a vector gives; `whole` counts parts of items.
fn put_one(whole: u32, vector: u32, place: u32, value: f32) {
  if (DOWN) {
    put(whole * WIDTH + place, vector, value);
  } else {
    put(whole * COUNT + vector, place, value);
  }
}
