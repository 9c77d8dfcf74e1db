// The scratch memory of each thread, which the host allocates.

#include "engine.h"
#include "simd.h"

enum { STACK_BYTES = 65536 };  // the linker gives the main thread the same size

static int thread_total = 1;
static uint8_t *scratch_areas;

void setup(int threads, uint8_t *areas) {
  thread_total = threads;
  scratch_areas = areas;
}

int scratch_size(void) { return SCRATCH_BYTES; }

int stack_size(void) { return STACK_BYTES; }

uint8_t *scratch(int thread) { return scratch_areas + thread * SCRATCH_BYTES; }

int thread_count(void) { return thread_total; }
