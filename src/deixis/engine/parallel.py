"""One network over several processes, a GPU each: every process holds a slice of each layer and computes the same steps.

Knows weights, steps and torch.distributed. Does not know requests. Queries, keys and values, gate and up (of experts, too) and
the vocabulary are split by output; the products behind them by input, and their sums meet in an all-reduce, which CUDA graphs
may hold. Process 0 has the engine and the ViT, and tells the others each step, which they `follow`. What the host knows travels
from host to host: nobody waits for a GPU to hear what comes next. Its reference is the network in one process (test: same
tokens).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from importlib.util import find_spec
from itertools import chain
from typing import Any

import torch
import torch.distributed as dist
from torch import Tensor, nn

from deixis.engine.network import Network
from deixis.engine.ops import TorchOps
from deixis.engine.step import KVPages, Span, Step
from deixis.engine.weights import Weight
from deixis.errors import OptionError
from deixis.model import Grid, Qwen3VL, TextConfig, VisualFeatures
from deixis.model.moe import SparseMLP

BACKEND = "cpu:gloo,cuda:nccl"  # of the process group on GPUs
_END, _PAGES, _WARM, _STEP, _LOGITS = range(5)
_HEADER = 10  # numbers: a command, and what it is about


def parallel_network(model: Qwen3VL, device: torch.device | str | None = None) -> ParallelNetwork:
    """This process's slice of `model` on `device` (None: where it is), in the default process group (`BACKEND`).

    `model` becomes the slice: a large one is loaded into the machine's memory and given with `device`, so that no GPU ever holds
    it whole. Raises OptionError where heads or channels cannot be shared out evenly.
    """
    text, world = model.config.text, dist.get_world_size()
    split = {"key-value heads": text.num_key_value_heads, "mlp channels": text.intermediate_size, "vocabulary": text.vocab_size}
    if text.num_experts:
        split["channels of an expert"] = text.moe_intermediate_size
    if uneven := [f"{size} {name}" for name, size in split.items() if size % world]:
        raise OptionError(f"{world} processes cannot share {', '.join(uneven)} evenly: use a number that divides them")
    _keep_own(model, dist.get_rank(), world)
    return ParallelNetwork(model if device is None else model.to(device))


class _ParallelOps(TorchOps):
    """Sums that are split by input meet here. What they are added to is counted once, by process 0."""

    def add_linear(self, x: Tensor, y: Tensor, weight: Weight) -> Tensor:
        return _summed(self.linear(y, weight) if dist.get_rank() else super().add_linear(x, y, weight))

    def experts(self, x: Tensor, mlp: SparseMLP) -> Tensor:
        return _summed(super().experts(x, mlp))


def _network(model: Qwen3VL) -> Network:
    if model.device.type != "cuda" or find_spec("triton") is None:
        return Network(model, _ParallelOps())
    from deixis.engine.graphs import GraphNetwork
    from deixis.engine.triton_ops import TritonOps

    class ParallelTritonOps(TritonOps):
        """The same on GPUs."""

        def add_linear(self, x: Tensor, y: Tensor, weight: Weight) -> Tensor:
            if not dist.get_rank():
                return _summed(super().add_linear(x, y, weight))
            return _summed(self._gemv(y, weight) if self._few(y, weight) else self.linear(y, weight))

        def experts(self, x: Tensor, mlp: SparseMLP) -> Tensor:
            return _summed(super().experts(x, mlp))

    return GraphNetwork(model, ParallelTritonOps())


class ParallelNetwork(Network):
    """Use `parallel_network`. On process 0 it serves an engine and at last calls `end`; the others call `follow`."""

    def __init__(self, model: Qwen3VL) -> None:
        self.own = _network(model)
        if model.config.tie_word_embeddings:  # the table of embeddings stays whole
            self.own.head = model.language.embed_tokens.weight.chunk(dist.get_world_size())[dist.get_rank()]
        self.model, self.config, self.ops = model, model.config, self.own.ops
        self.blocks, self.head = self.own.blocks, self.own.head
        self._hidden: Tensor | None = None

    def pages(self, count: int, page_tokens: int) -> KVPages:
        self._tell(_PAGES, count, page_tokens)
        return self.own.pages(count, page_tokens)

    def warm(self, kv: KVPages) -> None:
        self._tell(_WARM)
        self.own.warm(kv)

    def see(self, patches: Tensor, grids: Sequence[Grid]) -> VisualFeatures:
        return self.own.see(patches, grids)

    def forward(self, step: Step, kv: KVPages) -> Tensor:
        self._send(step)
        return self.own.forward(step, kv)

    def logits(self, hidden: Tensor) -> Tensor:
        """(w, hidden) of the last step -> (w, vocab) float32."""
        if not len(hidden):
            return self.own.logits(hidden)
        self._tell(_LOGITS)
        return self._gathered(hidden)

    def end(self) -> None:
        """Let the others go."""
        self._tell(_END)

    @torch.inference_mode()
    def follow(self) -> None:
        """Compute what process 0 computes until it calls `end`."""
        kv: KVPages | None = None
        hidden: Tensor | None = None
        while (heard := self._heard(_HEADER))[0] != _END:
            command, *about = heard
            if command == _PAGES:
                kv = self.own.pages(about[0], about[1])
                continue
            assert kv is not None, "a step before the pages that it is about"
            if command == _WARM:
                self.own.warm(kv)
            elif command == _STEP:
                hidden = self.own.forward(self._receive(about), kv)
            else:
                assert hidden is not None, "logits before any step"
                self._gathered(hidden)

    def _gathered(self, hidden: Tensor) -> Tensor:
        own = self.own.logits(hidden).contiguous()
        parts = [torch.empty_like(own) for _ in range(dist.get_world_size())]
        dist.all_gather(parts, own)
        return torch.cat(parts, -1)

    def _tell(self, *numbers: int) -> None:
        dist.broadcast(torch.tensor([*numbers, *[0] * (_HEADER - len(numbers))]), 0)

    def _heard(self, count: int) -> list[int]:
        numbers = torch.zeros(count, dtype=torch.int64)
        dist.broadcast(numbers, 0)
        return numbers.tolist()

    def _send(self, step: Step) -> None:
        spans = chain.from_iterable((span.start, span.count, len(span.pages), *span.pages) for span in step.spans)
        features = step.features
        known = step.input_ids.device.type == "cpu"  # else they were chosen on the GPU, and the host has not read them
        none = torch.empty(0, dtype=torch.int64)
        visual = none if features is None or step.visual_rows is None else step.visual_rows
        copies = none if step.copies is None else step.copies.flatten()
        lists = [torch.tensor([*spans]), step.positions.flatten(), step.slots, step.wanted, visual, copies]
        taps = 0 if features is None else len(features.deepstack)
        self._tell(_STEP, *(len(one) for one in lists), taps, step.rows, known)
        dist.broadcast(torch.cat([*lists, step.input_ids] if known else lists), 0)
        if not known:
            dist.broadcast(step.input_ids.contiguous(), 0)
        if features is not None:
            for one in (features.merged, *features.deepstack):
                dist.broadcast(one.to(self.model.dtype).contiguous(), 0)

    def _receive(self, about: list[int]) -> Step:
        *lengths, taps, rows, known = about
        numbers = torch.zeros(sum(lengths) + rows * known, dtype=torch.int64)
        dist.broadcast(numbers, 0)
        flat, positions, slots, wanted, visual, copies, ids = torch.split(numbers, [*lengths, rows * known])
        if not known:
            ids = torch.zeros(rows, dtype=torch.int64, device=self.device)
            dist.broadcast(ids, 0)
        spans, given = [], iter(flat.tolist())
        for start in given:
            count, pages = next(given), next(given)
            spans.append(Span(start, count, [next(given) for _ in range(pages)]))
        features = None
        if len(visual):
            shape = len(visual), self.config.text.hidden_size
            parts = [torch.zeros(shape, dtype=self.model.dtype, device=self.device) for _ in range(1 + taps)]
            for one in parts:
                dist.broadcast(one, 0)
            features = VisualFeatures(parts[0], tuple(parts[1:]))
        step = Step(tuple(spans), ids, positions.view(3, -1), slots, wanted, copies=copies.view(2, -1) if len(copies) else None)
        return step if features is None else replace(step, visual_rows=visual, features=features)


@torch.no_grad()
def _keep_own(model: Qwen3VL, rank: int, world: int) -> None:
    """Leave of each layer, and of a head of its own, what this process computes."""

    def keep(module: Any, name: str, dim: int, stacked: int = 1) -> None:
        """Its part along `dim` of each of the `stacked` matrices that lie there one after another."""
        whole = getattr(module, name)
        if whole is not None:
            parts = [one.chunk(world, dim)[rank] for one in whole.detach().chunk(stacked, dim)]
            setattr(module, name, nn.Parameter(torch.cat(parts, dim).clone(), requires_grad=False))

    layers: Any = model.language.layers
    for layer in layers:
        attention, mlp = layer.self_attn, layer.mlp
        for linear in (attention.q_proj, attention.k_proj, attention.v_proj):
            keep(linear, "weight", 0)
            keep(linear, "bias", 0)
        keep(attention.o_proj, "weight", 1)
        if isinstance(mlp, SparseMLP):
            keep(mlp.experts, "gate_up_proj", 1, stacked=2)
            keep(mlp.experts, "down_proj", 2)
        else:
            keep(mlp.gate_proj, "weight", 0)
            keep(mlp.up_proj, "weight", 0)
            keep(mlp.down_proj, "weight", 1)
    if not model.config.tie_word_embeddings:
        keep(model.lm_head, "weight", 0)
    model.config = replace(model.config, text=_own_text(model.config.text, world))


def _own_text(text: TextConfig, world: int) -> TextConfig:
    return replace(
        text,
        num_attention_heads=text.num_attention_heads // world,
        num_key_value_heads=text.num_key_value_heads // world,
        intermediate_size=text.intermediate_size // world,
        moe_intermediate_size=text.moe_intermediate_size // world,
    )


def _summed(part: Tensor) -> Tensor:
    dist.all_reduce(part)
    return part
