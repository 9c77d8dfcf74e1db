"""Schedule passes: the order of kernels, threads and barriers."""
