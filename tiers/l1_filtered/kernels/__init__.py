"""Compiled kernels: whatever looks at every character or word of a text."""
