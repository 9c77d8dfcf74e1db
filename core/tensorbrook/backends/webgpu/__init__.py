"""The GPU backend: a Plan as WGSL shaders and one command buffer, on every host."""
