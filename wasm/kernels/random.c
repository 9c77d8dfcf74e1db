// Counter-based random number generator Philox 4x32-10: the same bits on every machine.

#include "engine.h"
#include "simd.h"

enum { ROUNDS = 10 };
// The multipliers and the increments of the key, from the paper.
static const uint32_t MULTIPLIER_0 = 0xD2511F53, MULTIPLIER_1 = 0xCD9E8D57;
static const uint32_t INCREMENT_0 = 0x9E3779B9, INCREMENT_1 = 0xBB67AE85;

static void philox(const uint32_t key[2], uint64_t counter, uint32_t out[4]) {
  uint32_t c0 = (uint32_t)counter, c1 = counter >> 32, c2 = 0, c3 = 0;
  uint32_t k0 = key[0], k1 = key[1];
  for (int round = 0; round < ROUNDS; round++, k0 += INCREMENT_0, k1 += INCREMENT_1) {
    uint64_t p0 = (uint64_t)MULTIPLIER_0 * c0, p1 = (uint64_t)MULTIPLIER_1 * c2;
    c0 = (uint32_t)(p1 >> 32) ^ c1 ^ k0;
    c2 = (uint32_t)(p0 >> 32) ^ c3 ^ k1;
    c1 = (uint32_t)p1;
    c3 = (uint32_t)p0;
  }
  out[0] = c0, out[1] = c1, out[2] = c2, out[3] = c3;
}

static uint64_t counter_of(const uint32_t *state) { return (uint64_t)state[3] << 32 | state[2]; }

// Blocks [block, end), one at a time; the last block may be cut off at `count` words.
static void random_blocks(const uint32_t *state, uint32_t *out, int count, int block, int end) {
  for (; block < end; block++) {
    uint32_t words[4];
    philox(state, counter_of(state) + block, words);
    for (int i = 0; i < min_int(4, count - 4 * block); i++) out[4 * block + i] = words[i];
  }
}

void random_bits_reference(const uint32_t *state, uint32_t *out, int count, int thread,
                           int threads) {
  int blocks = ceil_div(count, 4);
  random_blocks(state, out, count, partition_begin(blocks, thread, threads),
                partition_begin(blocks, thread + 1, threads));
}

// The high and low words of the 64-bit products of all four lanes.
INLINE void multiply_wide(v128_t a, v128_t b, v128_t *high, v128_t *low) {
  v128_t even = wasm_u64x2_extmul_low_u32x4(a, b), odd = wasm_u64x2_extmul_high_u32x4(a, b);
  *low = wasm_i32x4_shuffle(even, odd, 0, 2, 4, 6);
  *high = wasm_i32x4_shuffle(even, odd, 1, 3, 5, 7);
}

// Four blocks, one in each lane.
static void philox_4(const uint32_t key[2], uint64_t counter, uint32_t *out) {
  uint64_t c[4] = {counter, counter + 1, counter + 2, counter + 3};
  v128_t pair0 = wasm_v128_load(c), pair1 = wasm_v128_load(c + 2);
  v128_t c0 = wasm_i32x4_shuffle(pair0, pair1, 0, 2, 4, 6);
  v128_t c1 = wasm_i32x4_shuffle(pair0, pair1, 1, 3, 5, 7);
  v128_t c2 = wasm_i32x4_splat(0), c3 = c2;
  v128_t k0 = wasm_u32x4_splat(key[0]), k1 = wasm_u32x4_splat(key[1]);
  v128_t m0 = wasm_u32x4_splat(MULTIPLIER_0), m1 = wasm_u32x4_splat(MULTIPLIER_1);
  NOT_UNROLLED for (int round = 0; round < ROUNDS; round++) {
    v128_t high0, low0, high1, low1;
    multiply_wide(m0, c0, &high0, &low0);
    multiply_wide(m1, c2, &high1, &low1);
    c0 = wasm_v128_xor(wasm_v128_xor(high1, c1), k0);
    c2 = wasm_v128_xor(wasm_v128_xor(high0, c3), k1);
    c1 = low1, c3 = low0;
    k0 = wasm_i32x4_add(k0, wasm_u32x4_splat(INCREMENT_0));
    k1 = wasm_i32x4_add(k1, wasm_u32x4_splat(INCREMENT_1));
  }
  v128_t words[4] = {c0, c1, c2, c3};
  transpose_4x4(words);
  for (int i = 0; i < 4; i++) wasm_v128_store(out + 4 * i, words[i]);
}

void random_bits(const uint32_t *state, uint32_t *out, int count, int thread, int threads) {
  int blocks = ceil_div(count, 4);
  int block = partition_begin(blocks, thread, threads);
  int end = partition_begin(blocks, thread + 1, threads);
  for (; block + 4 <= min_int(end, count / 4); block += 4)
    philox_4(state, counter_of(state) + block, out + 4 * block);
  random_blocks(state, out, count, block, end);
}
