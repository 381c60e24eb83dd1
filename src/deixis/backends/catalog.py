"""The Qwen3-VL checkpoints there are, what each is for, and which of them lie on this machine.

Knows names, caches and sizes on disk. Does not load anything, and needs neither torch nor a network.
"""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Iterator
from dataclasses import dataclass
from importlib.resources import files
from pathlib import Path
from typing import Literal

Source = Literal["embedded", "huggingface", "modelscope", "directory"]
Hub = Literal["huggingface", "modelscope"]

GIB = 2**30
_SAMPLE_BYTES = 2**20
MODEL_TYPES = ("qwen3_vl", "qwen3_vl_moe")
CONFIG, INDEX, SINGLE = "config.json", "model.safetensors.index.json", "model.safetensors"


@dataclass(frozen=True)
class Known:
    """A published checkpoint: hub id, parameters in billions, and what it is for."""

    hub_id: str
    billions: float
    purpose: str

    @property
    def bytes(self) -> int:
        """About what it takes on disk and in memory, in bfloat16."""
        return int(self.billions * 2e9)


_SIZES: dict[str, tuple[float, str]] = {
    "2B": (2.13, "photographs on a laptop or a small GPU; a CPU answers in seconds to minutes"),
    "4B": (4.44, "photographs and screens on a GPU of 12 GB: the best grounding for its size"),
    "8B": (8.77, "photographs, screens and documents on a GPU of 24 GB: the default for a workstation"),
    "32B": (33.4, "hard scenes and long reasoning on a GPU of 80 GB"),
    "30B-A3B": (31.1, "quality near 32B at the speed of 3B, where 80 GB of GPU memory hold it"),
    "235B-A22B": (235.7, "the best there is, behind a server with eight GPUs"),
}
KNOWN: tuple[Known, ...] = tuple(
    Known(
        f"Qwen/Qwen3-VL-{size}-{variant}",
        billions,
        purpose if variant == "Instruct" else f"as Instruct, but reasons first: slower, better at puzzles ({size})",
    )
    for size, (billions, purpose) in _SIZES.items()
    for variant in ("Instruct", "Thinking")
)


@dataclass(frozen=True)
class LocalCheckpoint:
    """A Qwen3-VL checkpoint on this machine. `complete` is False where weight files are missing (an interrupted pull)."""

    name: str
    directory: Path
    source: Source
    bytes: int
    complete: bool
    loadable: bool  # False for quantised files, which only a server reads

    @property
    def memory_bytes(self) -> int:
        """What answering takes: the weights, a fifth more for keys, values and activations, and the runtime."""
        return int(self.bytes * 1.2) + GIB


def nano_directory() -> Path:
    """Where the embedded checkpoint lies (or would lie)."""
    return Path(str(files("deixis"))) / "checkpoints" / "nano"


def hub_cache(hub: Hub) -> Path:
    """The hub's own cache on this machine, where its tools look too."""
    home = Path.home()
    if hub == "huggingface":
        if found := os.environ.get("HF_HUB_CACHE") or os.environ.get("HUGGINGFACE_HUB_CACHE"):
            return Path(found).expanduser()
        cache = Path(os.environ.get("XDG_CACHE_HOME") or home / ".cache")
        return Path(os.environ.get("HF_HOME") or cache / "huggingface").expanduser() / "hub"
    return Path(os.environ.get("MODELSCOPE_CACHE") or home / ".cache" / "modelscope").expanduser()


def cached_directory(hub_id: str, hub: Hub) -> Path | None:
    """The directory in the hub's cache that holds `hub_id`, if any. Nothing is downloaded."""
    if hub == "huggingface":
        base = hub_cache(hub) / ("models--" + hub_id.replace("/", "--"))
        ref = base / "refs" / "main"
        if ref.is_file():
            found = base / "snapshots" / ref.read_text(encoding="utf-8").strip()
            return found if (found / CONFIG).is_file() else None
        snapshots = sorted((base / "snapshots").glob(f"*/{CONFIG}"), key=lambda path: path.stat().st_mtime)
        return snapshots[-1].parent if snapshots else None
    owner, _, name = hub_id.partition("/")
    for base in _modelscope_bases():
        for spelled in (name, name.replace(".", "___")):
            if (base / owner / spelled / CONFIG).is_file():
                return base / owner / spelled
    return None


def _modelscope_bases() -> tuple[Path, ...]:
    """ModelScope has kept its models in three places over its versions."""
    cache = hub_cache("modelscope")
    return cache / "hub" / "models", cache / "models", cache / "hub"


def local_checkpoints() -> list[LocalCheckpoint]:
    """Every Qwen3-VL checkpoint on this machine, the largest first; the embedded one is among them."""
    found = [checkpoint for checkpoint in map(_read, *zip(*_places(), strict=True)) if checkpoint is not None]
    return sorted(found, key=lambda checkpoint: checkpoint.bytes, reverse=True)


def _places() -> Iterator[tuple[str, Path, Source]]:
    yield "nano", nano_directory(), "embedded"
    for base in sorted(hub_cache("huggingface").glob("models--*")):
        hub_id = base.name.removeprefix("models--").replace("--", "/", 1)
        if directory := cached_directory(hub_id, "huggingface"):
            yield hub_id, directory, "huggingface"
    for root in _modelscope_bases():
        for config in sorted(root.glob(f"*/*/{CONFIG}")):
            directory = config.parent
            yield f"modelscope:{directory.parent.name}/{directory.name.replace('___', '.')}", directory, "modelscope"


def _read(name: str, directory: Path, source: Source) -> LocalCheckpoint | None:
    """What lies in a directory, or None where it is no Qwen3-VL checkpoint."""
    try:
        config = json.loads((directory / CONFIG).read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return None
    if not isinstance(config, dict) or config.get("model_type") not in MODEL_TYPES:
        return None
    weights = weight_files(directory)
    sizes = [path.stat().st_size for path in weights if path.is_file()]
    complete = bool(weights) and len(sizes) == len(weights)
    return LocalCheckpoint(name, directory, source, sum(sizes), complete, "quantization_config" not in config)


def weight_files(directory: Path) -> list[Path]:
    """The weight files that the directory should hold; empty where it names none."""
    try:
        index = json.loads((directory / INDEX).read_text(encoding="utf-8"))
        return sorted({directory / str(name) for name in index["weight_map"].values()})
    except FileNotFoundError:
        return [directory / SINGLE] if (directory / SINGLE).is_file() else []
    except (OSError, ValueError, KeyError, AttributeError, TypeError):
        return []


def weights_identity(directory: Path) -> str:
    """The same for the same weights wherever they lie; "" without weights. What was measured of a model is kept under it.

    A digest of every file's name, size and 1 MiB at its head, middle and end. Not of all bytes: a model of 16 GB would take
    longer to digest than to load, and training leaves no stretch of it as it was.
    """
    digest = hashlib.sha256()
    found = [path for path in weight_files(directory) if path.is_file()]
    for path in found:
        size = path.stat().st_size
        digest.update(f"{path.name} {size} ".encode())
        with path.open("rb") as file:
            for start in sorted({0, size // 2, max(size - _SAMPLE_BYTES, 0)}):
                file.seek(start)
                digest.update(file.read(_SAMPLE_BYTES))
    return f"weights:{digest.hexdigest()[:32]}" if found else ""
