"""Weights that are held in another form than a matrix of floating-point numbers.

Knows what a product asks of them. Does not know any form: int8.py and fp8.py are two.
"""

from __future__ import annotations

from typing import Protocol

from torch import Tensor


class PackedWeight(Protocol):
    """A matrix (out, in) that multiplies rows in its own way."""

    def product(self, x: Tensor, bias: Tensor | None = None) -> Tensor:
        """(n, in) -> (n, out), in the dtype of `x`."""
        ...


Weight = Tensor | PackedWeight
