"""Graph passes: rewrites of equations, before any kernel exists."""
