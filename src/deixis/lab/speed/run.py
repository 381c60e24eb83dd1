"""One sitting: this machine's rates, this house's engine, its peer, growth and profile; what is known is kept as it comes.

Knows the order of things and files. Does not know the command line.
"""

from __future__ import annotations

import gc
import json
import tempfile
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch

from deixis.engine import Engine
from deixis.engine.fp8 import fp8_network
from deixis.engine.int8 import can_pack_int8, int8_network
from deixis.errors import OptionError
from deixis.lab.speed import growth as growing
from deixis.lab.speed.asked import ask_ms
from deixis.lab.speed.asking import Asking, asking_of
from deixis.lab.speed.drawing import draw_table
from deixis.lab.speed.machine import Cost, Machine, measured_machine
from deixis.lab.speed.ours import Asker
from deixis.lab.speed.peers import PEERS, peer_rows
from deixis.lab.speed.profile import profiles
from deixis.lab.speed.shapes import SHAPES, checkpoint_of
from deixis.lab.speed.table import Row, report, rows_of

WEIGHTS = ("auto", "bfloat16", "float32", "int8", "fp8")
_BYTES = {"fp8": 1.0, "int8": 1.0, "bfloat16": 2.0, "float32": 4.0}


@dataclass
class Sitting:
    """What is measured, and all that is known so far. Raises OptionError for what cannot be measured here."""

    shape: str
    device: str
    peer: str = "none"
    weights: str = "auto"
    peer_path: str = ""
    peer_dtype: str = ""
    out: Path | None = None
    asking: Asking | None = None
    say: Callable[[str], None] = print
    ours: dict[str, float] = field(default_factory=dict)
    theirs: dict[str, float] = field(default_factory=dict)
    facts: dict[str, Any] = field(default_factory=dict)
    machine: Machine | None = None
    cost: Cost | None = None

    def __post_init__(self) -> None:
        for name, allowed in (("shape", SHAPES), ("device", ("cuda", "cpu")), ("peer", PEERS), ("weights", WEIGHTS)):
            if getattr(self, name) not in allowed:
                raise OptionError(f"{name} is {getattr(self, name)!r}, expected one of {', '.join(allowed)}")
        if self.device == "cuda" and not torch.cuda.is_available():
            raise OptionError("there is no CUDA device here; use --device cpu")
        if self.weights == "fp8" and self.device == "cpu":
            raise OptionError("float8 weights are measured on CUDA alone; use --weights int8")
        if self.peer == "vllm" and self.device == "cpu":
            raise OptionError("vLLM is measured on CUDA alone; use --peer transformers")
        if self.weights == "auto":
            large = "int8" if can_pack_int8() else "bfloat16"
            self.weights = "bfloat16" if self.device == "cuda" else "float32" if self.shape == "nano" else large
        if not self.peer_dtype:  # what a CPU computes nano in fastest, too
            self.peer_dtype = "float32" if (self.device, self.shape) == ("cpu", "nano") else "bfloat16"
        self.asking = self.asking or asking_of(self.device, self.shape)

    def run(self, *, grow: bool = False, look: bool = False) -> dict[str, Any]:
        """Everything, in order. The report is written to `out` after every figure, so that a run that is cut off leaves rows."""
        device = torch.device(self.device)
        self.facts = {"shape": self.shape, "weights": self.weights, "date": time.strftime("%Y-%m-%d %H:%M UTC", time.gmtime())}
        self.facts["asking"] = self._asking.to_json()
        self.machine = measured_machine(device)
        self.say(
            f"{self.machine.name}: {self.machine.bytes_per_s / 1e9:,.0f} GB/s, {self.machine.flops_per_s / 1e12:.3g} TFLOP/s"
        )
        with tempfile.TemporaryDirectory() as kept:
            calls = Path(kept) if self.shape == "nano" else None
            self._measure(device, grow, look, calls)
            gc.collect()
            if device.type == "cuda":
                torch.cuda.empty_cache()
            self._hear_peer(calls)
        return self.report()

    def _hear_peer(self, calls: Path | None) -> None:
        found = peer_rows(self.peer, self.shape, self._asking, self.device, self.peer_dtype, path=self.peer_path, calls=calls)
        for name, value in found:
            if name == "version":
                self.facts["peer"] = {"name": self.peer, "version": value, "dtype": self.peer_dtype}
            elif name == "failed":
                self.facts["peer_failed"] = value
            else:
                self.theirs[name] = value
            self._keep(f"{self.peer} {name}: {value}")

    @property
    def _asking(self) -> Asking:
        assert self.asking is not None
        return self.asking

    def _measure(self, device: torch.device, grow: bool, look: bool, calls: Path | None) -> None:
        began = time.perf_counter()
        float32 = self.weights == "float32"
        checkpoint = checkpoint_of(self.shape, device, torch.float32 if float32 else torch.bfloat16)
        packed = {"int8": int8_network, "fp8": fp8_network}.get(self.weights)
        engine = Engine(checkpoint, network=None if packed is None else packed(checkpoint.model))
        head_bytes = 2.0 if self.weights == "fp8" else None
        self.cost = Cost(checkpoint.config, _BYTES[self.weights], checkpoint.model.dtype.itemsize, head_bytes)
        self.facts["start_s"] = round(time.perf_counter() - began, 1)
        self.say(f"{self.shape} in {self.weights}: started in {self.facts['start_s']} s")
        if calls is not None:
            self.ours["ask"] = ask_ms(checkpoint, self._asking.repeats, calls)
            self._keep(f"ours ask: {self.ours['ask']:.4g}")
        asker = Asker(engine, self._asking)
        for name, value in asker.rows():
            self.ours[name] = value
            self._keep(f"ours {name}: {value:.4g}")
        if self.device == "cpu" and self.shape == "nano":
            self.ours["alone"] = asker.alone()
            self._keep(f"ours alone: {self.ours['alone']:.4g}")
        if look:
            self.facts["profile"] = profiles(asker)
            self._keep("profile")
        if grow:
            for found in growing.growth(engine, self._asking, self.machine_there, self.cost):
                self.facts["growth"] = found
                self._keep(f"growth {[len(curve['points']) for curve in found.values() if isinstance(curve, Mapping)]}")

    @property
    def machine_there(self) -> Machine:
        """The measured machine."""
        assert self.machine is not None
        return self.machine

    def rows(self) -> list[Row]:
        """The table so far."""
        assert self.cost is not None
        known = self.ours, self.peer, self.theirs, self.machine_there, self.cost
        return rows_of(self.device, self.shape, self._asking, *known)

    def report(self) -> dict[str, Any]:
        """The table so far, as JSON."""
        return report(self.rows(), self.machine_there, self.facts)

    def _keep(self, said: str) -> None:
        self.say(said)
        if self.out is None:
            return
        self.out.mkdir(parents=True, exist_ok=True)
        stem = f"speed-{self.shape}-{self.device}" + ("-fp8" if self.weights == "fp8" else "")
        (self.out / f"{stem}.json").write_text(json.dumps(self.report(), indent=1) + "\n", encoding="utf-8")
        title = f"Qwen3-VL {self.shape} shapes, {self.weights}, {self.machine_there.name}"
        draw_table(self.rows(), title, self.out / f"{stem}.png")
        if "growth" in self.facts:
            growing.draw(self.facts["growth"], f"{self.shape}, {self.machine_there.name}", self.out)
