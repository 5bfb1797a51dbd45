"""Compiled kernels without their compiler: what Numba made, kept so that a later process runs it without importing Numba."""
