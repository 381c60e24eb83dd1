"""What an answer's tokens attend to in a picture: an attention that keeps its weights while the network reads an answer again.

Knows queries, keys and places. Does not know what the tokens say. It equals `model.causal_attention` (test); it is slower, and
serves explanations alone.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from deixis.model import causal_attention


@dataclass(frozen=True, eq=False)
class Attention:
    """Attention to each merged patch of a picture, mean over heads.

    `answer` (layers, tokens, rows, columns) is paid where an answer's tokens were chosen, `unasked` (layers, rows, columns) by
    the first token after the picture, which has read no question yet. Weights of one layer and token add up to the share that the
    picture gets; text gets the rest.
    """

    answer: NDArray[np.float32]
    unasked: NDArray[np.float32]


class AttentionTap:
    """An `Attend` that computes as ever and keeps the weights from some queries to some keys, layer after layer."""

    def __init__(self, queries: Sequence[int], keys: Tensor) -> None:
        self._queries = list(queries)
        self._keys = keys
        self._layers: list[Tensor] = []

    def __call__(self, q: Tensor, k: Tensor, v: Tensor) -> Tensor:
        """q (1, heads, t, head_dim), k and v (1, kv_heads, t, head_dim) -> (1, heads, t, head_dim), of a whole conversation."""
        asking = q[0, :, self._queries].float()  # (heads, n, head_dim)
        shared = k[0].float().repeat_interleave(q.shape[1] // k.shape[1], 0)  # (heads, t, head_dim)
        scores = asking @ shared.transpose(1, 2) / q.shape[-1] ** 0.5  # (heads, n, t)
        later = torch.arange(k.shape[2], device=q.device) > torch.tensor(self._queries, device=q.device)[:, None]
        weights = scores.masked_fill(later, float("-inf")).softmax(-1).mean(0)  # (n, t)
        self._layers.append(weights[:, self._keys.to(q.device)].cpu())
        return causal_attention(q, k, v)

    def result(self, grid: tuple[int, int]) -> NDArray[np.float32]:
        """(layers, queries, rows, columns) of all layers read so far, the keys laid out as a grid."""
        stacked = torch.stack(self._layers)  # (layers, queries, keys)
        weights: NDArray[np.float32] = stacked.view(*stacked.shape[:2], *grid).numpy()
        return weights
