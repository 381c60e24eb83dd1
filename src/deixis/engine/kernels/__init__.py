"""Triton kernels for NVIDIA GPUs, one file per task; `triton_ops` and `paged_attention` call them, `ops` is their reference.

Importing this package needs triton. Every kernel that takes `PDL` may be started before the one in front of it has ended
(programmatic dependent launch): until `gdc_wait` it touches nothing but weights, which no kernel writes.
"""
