"""Layer 0: errors, dtypes, shapes, views and trees, on the standard library alone."""
