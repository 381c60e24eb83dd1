"""How Triton kernels are started. Does not know what they compute."""

from __future__ import annotations

from typing import Any

import triton
from torch import Tensor

INTERPRETED = bool(triton.knobs.runtime.interpret)
_COMPILED: dict[tuple[Any, ...], Any] = {}


def launch(
    kernel: Any, grid: tuple[int, ...], warps: int, given: tuple[Any, ...], settings: dict[str, Any], *, early: bool = False
) -> None:
    """Start a kernel; `given` and `settings` in the order of its parameters.

    Triton works out at each launch which of a kernel's compiled forms fits, which takes longer than many kernels run. What
    decides it is all in the key below, so it is asked once: types, and of pointers and numbers what Triton compiles for.
    """
    if INTERPRETED:
        kernel[grid](*given, **settings)
        return
    key = (id(kernel), warps, early, *map(_form, given), *settings.values())
    compiled = _COMPILED.get(key)
    if compiled is None:
        _COMPILED[key] = kernel[grid](*given, **settings, num_warps=warps, launch_pdl=early)
    else:
        compiled[(*grid, 1, 1)[:3]](*given, *settings.values())


def _form(x: Any) -> Any:
    if isinstance(x, Tensor):
        return x.dtype, x.data_ptr() & 15
    return (x == 1, x % 16 == 0, x >> 31) if isinstance(x, int) else type(x)
