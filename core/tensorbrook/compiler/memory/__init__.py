"""Memory passes: liveness, aliasing and buffer assignment."""
