"""Automatic differentiation: derivatives of Numba code, inside Numba code."""
