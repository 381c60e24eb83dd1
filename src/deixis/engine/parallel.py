"""One network over several processes, a GPU each: every process holds a slice of each layer and computes the same steps.

Knows weights, steps and torch.distributed. Does not know requests. Queries, keys and values, gate and up, the experts and the
vocabulary are split by output; the products behind them by input, and their sums meet in an all-reduce. Process 0 has the engine
and sends each step to the others, which `follow`. Its reference is the network in one process (test: same tokens).
"""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import torch
import torch.distributed as dist
from torch import Tensor, nn

from deixis.engine.network import Block, Network
from deixis.engine.ops import TorchOps
from deixis.engine.step import KVPages, Span, Step
from deixis.engine.weights import Weight
from deixis.errors import OptionError
from deixis.model import Qwen3VL, TextConfig, VisualFeatures
from deixis.model.moe import SparseMLP

_STEP, _LOGITS, _END = 1, 2, 0


def parallel_network(model: Qwen3VL) -> ParallelNetwork:
    """This process's slice of `model`, in the default process group. Raises OptionError where the heads cannot be shared out."""
    text, world = model.config.text, dist.get_world_size()
    split = {"key-value heads": text.num_key_value_heads, "mlp channels": text.intermediate_size, "vocabulary": text.vocab_size}
    if text.num_experts:
        split["experts"] = text.num_experts
    if uneven := [f"{size} {name}" for name, size in split.items() if size % world]:
        raise OptionError(f"{world} processes cannot share {', '.join(uneven)} evenly: use a number that divides them")
    return ParallelNetwork(model)


class _ParallelOps(TorchOps):
    """Sums that are split by input meet here."""

    def add_linear(self, x: Tensor, y: Tensor, weight: Weight) -> Tensor:
        return x + _summed(self.linear(y, weight))

    def experts(self, x: Tensor, mlp: SparseMLP) -> Tensor:
        return _summed(super().experts(x, mlp))


def _fast_ops() -> TorchOps:
    from deixis.engine.triton_ops import TritonOps

    class ParallelTritonOps(TritonOps):
        """The same on GPUs."""

        def add_linear(self, x: Tensor, y: Tensor, weight: Weight) -> Tensor:
            return x.add_(_summed(self.linear(y, weight)))

        def experts(self, x: Tensor, mlp: SparseMLP) -> Tensor:
            return _summed(super().experts(x, mlp))

    return ParallelTritonOps()


class ParallelNetwork(Network):
    """Use `parallel_network`. On process 0 it serves an engine; the others call `follow`."""

    def __init__(self, model: Qwen3VL) -> None:
        super().__init__(model, _fast_ops() if model.device.type == "cuda" else _ParallelOps())
        self.rank, world = dist.get_rank(), dist.get_world_size()
        text = model.config.text
        local = replace(
            text, num_attention_heads=text.num_attention_heads // world, num_key_value_heads=text.num_key_value_heads // world
        )
        self.config = replace(self.config, text=local)
        self.blocks = [_slice(block, text, self.rank, world) for block in self.blocks]
        self.head = _rows(self.head, self.rank, world)
        self._hidden: Tensor | None = None

    def forward(self, step: Step, kv: KVPages) -> Tensor:
        if self.rank == 0:
            self._send(step)
        self._hidden = super().forward(step, kv)
        return self._hidden

    def logits(self, hidden: Tensor) -> Tensor:
        """(w, hidden) of the last step -> (w, vocab) float32."""
        if self.rank == 0:
            self._tell([_LOGITS])
        own = super().logits(hidden).contiguous()
        parts = [torch.empty_like(own) for _ in range(dist.get_world_size())]
        dist.all_gather(parts, own)
        return torch.cat(parts, -1)

    def follow(self, kv: KVPages) -> None:
        """Compute what process 0 computes until it calls `end`. `kv` has as many pages as its cache."""
        while True:
            command, *lengths = self._heard()
            if command == _END:
                return
            if command == _STEP:
                self.forward(self._receive(lengths), kv)
            else:
                assert self._hidden is not None
                self.logits(self._hidden)

    def end(self) -> None:
        """Let the others go."""
        self._tell([_END])

    def _tell(self, numbers: list[int]) -> None:
        dist.broadcast(torch.tensor([*numbers, *[0] * (8 - len(numbers))], device=self.device), 0)

    def _heard(self) -> list[int]:
        numbers = torch.zeros(8, dtype=torch.int64, device=self.device)
        dist.broadcast(numbers, 0)
        return numbers.tolist()

    def _send(self, step: Step) -> None:
        spans = torch.tensor([number for span in step.spans for number in (span.start, span.count, len(span.pages), *span.pages)])
        lists = [spans, step.input_ids, step.positions.flatten(), step.slots, step.wanted]
        features = step.features
        if features is not None and step.visual_rows is not None:
            lists.append(step.visual_rows)
        self._tell([_STEP, *(len(one) for one in lists), *([0] if features is None else [len(features.deepstack)])][:8])
        dist.broadcast(torch.cat([one.to(self.device) for one in lists]), 0)
        if features is not None:
            for one in (features.merged, *features.deepstack):
                dist.broadcast(one.to(self.model.dtype).contiguous(), 0)

    def _receive(self, told: list[int]) -> Step:
        lengths, taps = told[:6], told[6]
        numbers = torch.zeros(sum(lengths), dtype=torch.int64, device=self.device)
        dist.broadcast(numbers, 0)
        flat, ids, positions, slots, wanted, visual = torch.split(numbers, lengths)
        spans, given = [], iter(flat.tolist())
        for start in given:
            count, pages = next(given), next(given)
            spans.append(Span(start, count, [next(given) for _ in range(pages)]))
        features = None
        if lengths[5]:
            shape = lengths[5], self.config.text.hidden_size
            parts = [torch.zeros(shape, dtype=self.model.dtype, device=self.device) for _ in range(1 + taps)]
            for one in parts:
                dist.broadcast(one, 0)
            features = VisualFeatures(parts[0], tuple(parts[1:]))
        return Step(tuple(spans), ids, positions.view(3, -1), slots, wanted, visual if features is not None else None, features)


class _OwnExperts(nn.Module):
    """A mixture of which this process holds some experts: rows that go elsewhere count nothing here."""

    def __init__(self, whole: SparseMLP, rank: int, world: int) -> None:
        super().__init__()
        self.whole = whole
        size = len(whole.experts.gate_up_proj) // world
        self.first, self.size = rank * size, size
        for name in ("gate_up_proj", "down_proj"):
            own = getattr(whole.experts, name)[self.first : self.first + size].clone()
            setattr(whole.experts, name, nn.Parameter(own, requires_grad=False))

    def forward(self, x: Tensor) -> Tensor:
        """(n, hidden) -> same."""
        weights, experts = self.whole.gate(x)
        own = (experts >= self.first) & (experts < self.first + self.size)
        return self.whole.experts(x, weights * own, (experts - self.first).clamp(0, self.size - 1))  # type: ignore[no-any-return]


def _slice(block: Block, text: TextConfig, rank: int, world: int) -> Block:
    sizes = [heads * text.head_dim for heads in (text.num_attention_heads, text.num_key_value_heads, text.num_key_value_heads)]

    def heads_of(packed: Tensor) -> Tensor:
        return torch.cat([_rows(part, rank, world) for part in torch.split(packed, sizes)])

    assert isinstance(block.qkv, Tensor) and isinstance(block.out, Tensor)
    mlp: Any
    if isinstance(block.mlp, tuple):
        gate_up, down = block.mlp
        assert isinstance(gate_up, Tensor) and isinstance(down, Tensor)
        mlp = torch.cat([_rows(half, rank, world) for half in gate_up.chunk(2)]), _columns(down, rank, world)
    else:
        mlp = _OwnExperts(block.mlp, rank, world)
    bias = None if block.qkv_bias is None else heads_of(block.qkv_bias)
    return replace(block, qkv=heads_of(block.qkv), qkv_bias=bias, out=_columns(block.out, rank, world), mlp=mlp)


def _rows(weight: Weight, rank: int, world: int) -> Tensor:
    assert isinstance(weight, Tensor)
    return weight.chunk(world)[rank].clone()


def _columns(weight: Tensor, rank: int, world: int) -> Tensor:
    return weight.chunk(world, 1)[rank].contiguous()


def _summed(part: Tensor) -> Tensor:
    dist.all_reduce(part)
    return part
