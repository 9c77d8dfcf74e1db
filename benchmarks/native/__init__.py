"""Ours through wasmtime beside NumPy, JAX and PyTorch on this machine's own instructions."""
