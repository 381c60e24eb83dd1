"""What a machine can do at most, and what a question costs at least: the physical limit beside every figure.

Knows copies, matrix products and the arithmetic of the network. Does not know who is measured.
"""

from __future__ import annotations

import platform
import statistics
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import torch

from deixis.model import Qwen3VLConfig


@dataclass(frozen=True)
class Machine:
    """A device's name and measured rates: memory in bytes/s, matrix products in FLOP/s."""

    name: str
    device: str
    bytes_per_s: float
    flops_per_s: float
    torch: str
    threads: int


@dataclass(frozen=True)
class Cost:
    """The least that a network of this shape must read and compute. Bytes are of one stored number; those of the output head may
    differ from the other weights'."""

    config: Qwen3VLConfig
    weight_bytes: float
    kv_bytes: float
    head_bytes: float | None = None

    @property
    def layer_weights(self) -> int:
        """Numbers in the decoder's matrices, head aside."""
        text = self.config.text
        heads = 2 * text.num_attention_heads + 2 * text.num_key_value_heads
        return text.num_hidden_layers * text.hidden_size * (heads * text.head_dim + 3 * text.intermediate_size)

    @property
    def head_weights(self) -> int:
        """Numbers in the output head."""
        return self.config.text.vocab_size * self.config.text.hidden_size

    @property
    def kv_token_bytes(self) -> float:
        """Keys and values of one token."""
        text = self.config.text
        return 2 * text.num_hidden_layers * text.num_key_value_heads * text.head_dim * self.kv_bytes

    def vision_flops(self, patches: int) -> float:
        """One picture through the ViT and its mergers."""
        sight, merge = self.config.vision, self.config.vision.spatial_merge_size**2
        block = sight.hidden_size * (4 * sight.hidden_size + 2 * sight.intermediate_size)
        joined = sight.hidden_size * merge
        merger = joined * (joined + sight.out_hidden_size) * (1 + len(sight.deepstack_visual_indexes)) / merge
        products = patches * (sight.depth * block + sight.patch_dim * sight.hidden_size + merger)
        return 2 * products + 4 * sight.depth * patches**2 * sight.hidden_size

    def prompt_flops(self, new: int, cached: int = 0) -> float:
        """`new` tokens through the decoder behind `cached` ones, and the head once."""
        text = self.config.text
        seen = new * cached + new * (new + 1) / 2
        attention = 4 * text.num_hidden_layers * text.num_attention_heads * text.head_dim * seen
        return 2 * new * self.layer_weights + attention + 2 * self.head_weights

    def step_bytes(self, streams: int = 1, own: float = 0, shared: float = 0) -> float:
        """What one decoding step reads: all weights once, `own` cached tokens of each stream and `shared` ones of all."""
        head_bytes = self.weight_bytes if self.head_bytes is None else self.head_bytes
        weights = self.layer_weights * self.weight_bytes + self.head_weights * head_bytes
        return weights + (streams * own + shared) * self.kv_token_bytes

    def prompt_s(self, machine: Machine, new: int, cached: int = 0, patches: int = 0) -> float:
        """Least time to a first token: the matrix rate decides, or the memory where few tokens are new."""
        flops = self.prompt_flops(new, cached) + (self.vision_flops(patches) if patches else 0)
        return max(flops / machine.flops_per_s, self.step_bytes(own=cached) / machine.bytes_per_s)

    def step_s(self, machine: Machine, streams: int = 1, own: float = 0, shared: float = 0) -> float:
        """Least time of one decoding step."""
        flops = 2 * streams * (self.layer_weights + self.head_weights)
        return max(flops / machine.flops_per_s, self.step_bytes(streams, own, shared) / machine.bytes_per_s)


def measured_machine(device: torch.device) -> Machine:
    """This machine's rates, as good as PyTorch gets them: the larger of copying and reading, the faster of the matrix types."""
    cuda = device.type == "cuda"
    dtypes = (torch.bfloat16,) if cuda else (torch.bfloat16, torch.float32)
    flops = max(_flops_per_s(device, dtype, 8192 if cuda else 768) for dtype in dtypes)
    name = torch.cuda.get_device_name(device) if cuda else processor_name()
    return Machine(name, device.type, _bytes_per_s(device), flops, torch.__version__, torch.get_num_threads())


def _bytes_per_s(device: torch.device) -> float:
    cuda = device.type == "cuda"
    numbers = torch.ones(2**30 if cuda else 2**26, dtype=torch.bfloat16 if cuda else torch.float32, device=device)
    other = torch.empty_like(numbers)
    copying = 2 * numbers.nbytes / best_s(lambda: other.copy_(numbers), device)
    return copying if cuda else max(copying, 2 * numbers.nbytes / best_s(lambda: torch.dot(numbers, other), device))


def _flops_per_s(device: torch.device, dtype: torch.dtype, size: int) -> float:
    left, right = (torch.ones(size, size, dtype=dtype, device=device).normal_() for _ in range(2))
    return 2 * size**3 / best_s(lambda: left @ right, device)


def best_s(run: Callable[[], object], device: torch.device, times: int = 9) -> float:
    """Seconds of a call, the best of several: a rate is what the machine can do."""
    run()
    return min(timed_s(run, device) for _ in range(times))


def median_s(run: Callable[[], object], device: torch.device, times: int) -> float:
    """Seconds of a call, the median of several."""
    return statistics.median(timed_s(run, device) for _ in range(times))


def timed_s(run: Callable[[], object], device: torch.device) -> float:
    """Seconds of one call, the device's work included."""
    settle(device)
    began = time.perf_counter()
    run()
    settle(device)
    return time.perf_counter() - began


def settle(device: torch.device) -> None:
    """Wait for what a device still does."""
    if device.type == "cuda":
        torch.cuda.synchronize(device)


def processor_name() -> str:
    """The CPU, by the system's own name where it tells one."""
    path = Path("/proc/cpuinfo")
    lines = path.read_text(encoding="utf-8").splitlines() if path.exists() else []
    found = next((line.partition(":")[2].strip() for line in lines if line.startswith("model name")), "")
    return found or platform.processor() or platform.machine()
