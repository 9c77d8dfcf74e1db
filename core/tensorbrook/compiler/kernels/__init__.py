"""Kernel passes: rewrites of finished kernels, before they are scheduled."""
