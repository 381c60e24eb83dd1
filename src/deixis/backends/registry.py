"""From a model's name to a backend: auto, nano, a directory, a hub id, or a server's address. Nothing is downloaded here.

Knows where models may be and which fits this machine. Does not know what is asked.
"""

from __future__ import annotations

import os
import re
from dataclasses import replace
from pathlib import Path

from deixis.backends.base import Backend
from deixis.backends.catalog import GIB, Hub, cached_directory, local_checkpoints, nano_directory, weights_identity
from deixis.errors import ModelNotFoundError, OptionError

CONFIGURED = "DEIXIS_MODEL"
_HUB_ID = re.compile(r"[\w.-]+/[\w.-]+")


def resolve_model(name: str = "auto") -> Backend:
    """The backend for a model's name; its card says which it is and why.

    `auto`: what the environment variable DEIXIS_MODEL names, else the largest complete Qwen3-VL checkpoint on this machine that
    fits its memory, else `nano`. Raises ModelNotFoundError, CheckpointError, OptionError or BackendError, each one line.
    """
    name = name.strip()
    if not name:
        raise OptionError("the model's name is empty; expected auto, nano, a directory, a hub id or http://host:port/v1#name")
    if name == "auto":
        return _automatic()
    return _named(name, "named by the caller")


def _automatic() -> Backend:
    configured = os.environ.get(CONFIGURED, "").strip()
    if configured and configured != "auto":
        return _named(configured, f"auto: {CONFIGURED} names it")
    usable = [c for c in local_checkpoints() if c.source != "embedded" and c.complete and c.loadable]
    if not usable:
        return _nano("auto: no other Qwen3-VL checkpoint is on this machine")
    free, where = free_memory_bytes()
    chosen = next((c for c in usable if c.memory_bytes <= free), None)
    if chosen is None:
        least = usable[-1]
        return _nano(f"auto: {least.name} needs {least.memory_bytes / GIB:.1f} GiB, and {free / GIB:.1f} GiB of {where} are free")
    why = f"auto: the largest Qwen3-VL checkpoint here that fits {free / GIB:.1f} GiB of free {where}"
    return _local(chosen.directory, chosen.name, why)


def _named(name: str, why: str) -> Backend:
    if name == "nano":
        return _nano(why)
    if name.startswith(("http://", "https://")):
        from deixis.backends.openai import OpenAIBackend

        url, _, model = name.partition("#")
        return OpenAIBackend(url, model, api_key=os.environ.get("DEIXIS_API_KEY", ""))
    hub: Hub = "modelscope" if name.startswith("modelscope:") else "huggingface"
    hub_id = name.removeprefix("modelscope:")
    path = Path(name).expanduser()
    if path.is_dir():
        return _local(path, path.resolve().name, why)
    if path.exists():
        raise ModelNotFoundError(f"{name} is a file; expected a checkpoint's directory, which holds config.json and safetensors")
    if not _HUB_ID.fullmatch(hub_id):
        raise ModelNotFoundError(
            f"no model {name!r}; expected auto, nano, a directory, a hub id such as Qwen/Qwen3-VL-2B-Instruct, "
            "or http://host:8000/v1#name (`deixis models` lists what is here)"
        )
    directory = cached_directory(hub_id, hub)
    if directory is None:
        raise ModelNotFoundError(f"{name} is not on this machine; fetch it with `deixis models pull {name}`")
    return _local(directory, name, why)


def _nano(why: str) -> Backend:
    directory = nano_directory()
    if not (directory / "config.json").is_file():
        raise ModelNotFoundError("this installation has no embedded checkpoint; name a model with --model (`deixis models`)")
    return _local(directory, "nano", why)


def _local(directory: Path, name: str, why: str) -> Backend:
    from deixis.backends.local import LocalBackend

    backend = LocalBackend.open(directory)
    return backend.named(replace(backend.card, name=name, why=why, identity=weights_identity(directory)))


def free_memory_bytes() -> tuple[int, str]:
    """Free memory where a model would run, and what it is called: the largest GPU's, else the machine's."""
    import torch

    if torch.cuda.is_available():
        return max(torch.cuda.mem_get_info(i)[0] for i in range(torch.cuda.device_count())), "GPU memory"
    try:
        lines = Path("/proc/meminfo").read_text(encoding="ascii").splitlines()
        return next(int(line.split()[1]) * 1024 for line in lines if line.startswith("MemAvailable")), "memory"
    except (OSError, StopIteration):  # not Linux: all of it, as no portable call tells what is free
        return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES"), "memory"
