"""Native comparison: Tensorbrook on wasmtime beside NumPy, JAX and PyTorch."""
