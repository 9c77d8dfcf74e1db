"""Fusion passes: equations become kernels, and kernels become fewer."""
