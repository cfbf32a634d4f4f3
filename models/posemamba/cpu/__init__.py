"""Kernels for CPUs, compiled by Numba: the scan, and PoseMamba's whole forward pass.

Nothing here needs PyTorch, whose import takes longer than the first second of a film.
"""
