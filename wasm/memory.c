// The memory that the host gives each thread.

#include "engine.h"
#include "simd.h"

enum { STACK_BYTES = 65536 };  // what the linker gives the main thread too

static int count = 1;
static uint8_t *first_area;

void setup(int threads, uint8_t *areas) {
  count = threads;
  first_area = areas;
}

int scratch_size(void) { return SCRATCH_BYTES; }

int stack_size(void) { return STACK_BYTES; }

uint8_t *scratch(int thread) { return first_area + thread * SCRATCH_BYTES; }

int thread_count(void) { return count; }
