"""Layer 0: errors, dtypes, shapes, strided views and nested structures; standard library only."""
