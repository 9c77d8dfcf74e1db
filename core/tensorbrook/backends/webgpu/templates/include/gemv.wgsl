// GEMV: COUNT vectors of each batch item times a matrix. out[i] is (COUNT, WIDTH), or (WIDTH,
// COUNT) with VECTORS_ARE_COLUMNS. As in gemm.wgsl, `out` has a partial result for each of SPLIT_K
// splits.

alias first_type = f32;
alias second_type = f32;
alias sum_type = f32;

override BATCH: u32;
override COUNT: u32;
override WIDTH: u32;
override N: u32;                         // columns of the result: WIDTH or COUNT
override K: u32;
override VECTORS_ARE_COLUMNS: bool;
override STRIDE_MATRIX: u32;             // elements from one item's matrix to the next
override STRIDE_VECTORS: u32;
override VECTOR_STRIDE: u32;             // from one vector of an item to the next
override K_STRIDE: u32;                  // from one element of a vector to the next
override SPLIT_K: u32;
override K_PER_SPLIT: u32;

// if MATRIX_IS_VEC4
@group(0) @binding(0) var<storage, read> matrix: array<vec4<first_type>>;
// else
@group(0) @binding(0) var<storage, read> matrix: array<first_type>;
// end
@group(0) @binding(2) var<storage, read_write> out: array<sum_type>;

// include "include/operand_load.wgsl"

// One load of the matrix: MATRIX_WIDTH elements.
// if MATRIX_IS_VEC4
const MATRIX_WIDTH = 4u;
fn load_matrix(index: u32) -> vec4f { return load_first(vec4f(matrix[index / 4u])); }
// else
const MATRIX_WIDTH = 1u;
fn load_matrix(index: u32) -> f32 { return load_first(vec4f(f32(matrix[index]))).x; }
// end

fn store(row: u32, column: u32, value: f32) {
  out[row * N + column] = sum_type(value);
}

// Element `index` of the product of a vector; `item` counts splits x batch items.
fn store_element(item: u32, vector: u32, index: u32, value: f32) {
  if (VECTORS_ARE_COLUMNS) {
    store(item * WIDTH + index, vector, value);
  } else {
    store(item * COUNT + vector, index, value);
  }
}
