"""Weights between safetensors files and the network: streamed in tensor by tensor, written in transformers' names and layout.

Knows files and names. Does not know what the tensors do. A missing, left-over or misshapen tensor raises CheckpointError.
Names come from ``Qwen3VL.WEIGHT_PREFIXES``. Layout source: the released checkpoints and transformers 5.17
``conversion_mapping.py`` (MoE files hold experts' matrices transposed; a square one is left as it is, as transformers does).
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor

from deixis.errors import CheckpointError
from deixis.model.config import Qwen3VLConfig
from deixis.model.qwen3vl import Qwen3VL

INDEX = "model.safetensors.index.json"
SINGLE = "model.safetensors"
SHARD_BYTES = 16 * 2**20

_TRANSPOSED = (".experts.gate_up_proj", ".experts.down_proj")
_TIED_HEAD = "lm_head.weight"
_DTYPES = (torch.bfloat16, torch.float16, torch.float32)
_SCALE = "_scale_inv"
_NAMED = 6  # tensors that a message lists before it only counts


def empty_model(config: Qwen3VLConfig) -> Qwen3VL:
    """The network on the meta device: shapes without memory."""
    with torch.device("meta"):
        return Qwen3VL(config)


def load_weights(
    model: Qwen3VL, directory: Path | str, *, dtype: torch.dtype | None = None, device: torch.device | str = "cpu"
) -> None:
    """Fill ``model`` (as from ``empty_model``) from a checkpoint directory, tensor by tensor, in evaluation mode.

    ``dtype`` None keeps the files' own. Peak memory is the network plus one tensor.
    """
    wanted = {name: parameter.shape for name, parameter in model.named_parameters()}
    missing, leftover, misshapen = dict(wanted), [], []
    stream = _stream(Path(directory), torch.device(device))
    for file_name, tensor in _dequantized(stream, model.config.fp8_block):
        name = internal_name(file_name)
        if name is None or name not in wanted:
            # transformers writes the head of a tied checkpoint too; it is the embedding table again.
            if not (file_name == _TIED_HEAD and model.config.tie_word_embeddings):
                leftover.append(file_name)
            continue
        if name.endswith(_TRANSPOSED) and tensor.shape != wanted[name] and tensor.mT.shape == wanted[name]:
            tensor = tensor.mT.contiguous()
        if tensor.shape != wanted[name]:
            misshapen.append(f"{file_name} {tuple(tensor.shape)}, expected {tuple(wanted[name])}")
        elif not tensor.is_floating_point() or tensor.element_size() < 2:
            raise CheckpointError(
                f"{directory}: {file_name} is {tensor.dtype}, expected bfloat16, float16 or float32: use that version"
            )
        else:
            _assign(model, name, tensor if dtype is None else tensor.to(dtype))
        missing.pop(name, None)
    problems = {"missing": [file_name_of(n) for n in missing], "left over": leftover, "misshapen": misshapen}
    if any(problems.values()):
        told = "; ".join(f"{len(names)} {what}: {_listed(names)}" for what, names in problems.items() if names)
        raise CheckpointError(f"{directory} does not fit its config.json: {told}. Fetch the checkpoint again")
    model.eval()


def save_checkpoint(
    directory: Path | str, model: Qwen3VL, shard_bytes: int = SHARD_BYTES, dtype: torch.dtype = torch.bfloat16
) -> None:
    """Write ``config.json`` and sharded safetensors that transformers and servers load.

    No shard holds more than ``shard_bytes`` unless a single tensor does. Earlier weight files in ``directory`` are replaced.
    """
    directory = Path(directory)
    directory.mkdir(parents=True, exist_ok=True)
    shards: list[dict[str, Tensor]] = [{}]
    sizes = [0]
    for name, parameter in model.named_parameters():
        size = parameter.numel() * dtype.itemsize
        if shards[-1] and sizes[-1] + size > shard_bytes:
            shards.append({})
            sizes.append(0)
        shards[-1][file_name_of(name)] = parameter.detach()
        sizes[-1] += size
    for old in [*directory.glob("model-*-of-*.safetensors"), directory / SINGLE, directory / INDEX]:
        old.unlink(missing_ok=True)
    index: dict[str, str] = {}
    for i, shard in enumerate(shards, 1):
        file = f"model-{i:05d}-of-{len(shards):05d}.safetensors"
        tensors = {name: _for_file(name, tensor).to(device="cpu", dtype=dtype).contiguous() for name, tensor in shard.items()}
        save_file(tensors, directory / file, metadata={"format": "pt"})
        index |= dict.fromkeys(shard, file)
    _write_json(directory / INDEX, {"metadata": {"total_size": sum(sizes)}, "weight_map": index})
    _write_json(directory / "config.json", model.config.to_dict() | {"dtype": str(dtype).removeprefix("torch.")})


def internal_name(file_name: str) -> str | None:
    """A checkpoint's tensor name as the network's, None where the network has no such part."""
    for outer, inner in Qwen3VL.WEIGHT_PREFIXES.items():
        if file_name.startswith(outer):
            return inner + file_name.removeprefix(outer)
    return None


def file_name_of(name: str) -> str:
    """A parameter's name in a checkpoint file."""
    for outer, inner in Qwen3VL.WEIGHT_PREFIXES.items():
        if name.startswith(inner):
            return outer + name.removeprefix(inner)
    raise KeyError(name)


def _stream(directory: Path, device: torch.device) -> Iterator[tuple[str, Tensor]]:
    """Every tensor of the directory's weight files once, with its name."""
    for file in _weight_files(directory):
        try:
            with safe_open(file, framework="pt", device=str(device)) as opened:
                for name in opened.keys():  # noqa: SIM118 (not a dict)
                    yield name, opened.get_tensor(name)
        except (SafetensorError, OSError) as error:
            raise CheckpointError(f"{file} cannot be read ({error}): fetch the checkpoint again") from error


def _dequantized(stream: Iterator[tuple[str, Tensor]], block: tuple[int, int] | None) -> Iterator[tuple[str, Tensor]]:
    """The stream with float8 tensors and their block scales (``<name>_scale_inv``) joined to bfloat16 ones."""
    waiting: dict[str, Tensor] = {}  # halves of pairs, by the weight's name
    for name, tensor in stream:
        weight_name = name.removesuffix(_SCALE)
        if block is None or not (name.endswith(_SCALE) or tensor.dtype == torch.float8_e4m3fn):
            yield name, tensor
        elif (other := waiting.pop(weight_name, None)) is None:
            waiting[weight_name] = tensor
        else:
            weight, scale = (other, tensor) if name.endswith(_SCALE) else (tensor, other)
            rows, columns = weight.shape[-2:]
            wide = scale.float().repeat_interleave(block[0], -2)[..., :rows, :]
            wide = wide.repeat_interleave(block[1], -1)[..., :columns]
            yield weight_name, (weight.float() * wide).to(torch.bfloat16)
    yield from waiting.items()  # unpaired: told as misshapen, of a wrong dtype or left over


def _weight_files(directory: Path) -> list[Path]:
    index = directory / INDEX
    if index.is_file():
        try:
            names = sorted(set(json.loads(index.read_text(encoding="utf-8"))["weight_map"].values()))
        except (ValueError, KeyError, AttributeError, TypeError) as error:
            raise CheckpointError(f"{index} is not a safetensors index ({error!r}): fetch the checkpoint again") from error
        files = [directory / Path(str(name)).name for name in names]  # never outside the directory
    else:
        files = [directory / SINGLE]
    absent = [f.name for f in files if not f.is_file()]
    if absent or not files:
        raise CheckpointError(
            f"{directory} lacks {_listed(absent) or SINGLE}, expected safetensors weights: fetch the checkpoint again"
        )
    return files


def _assign(model: Qwen3VL, name: str, tensor: Tensor) -> None:
    owner, _, leaf = name.rpartition(".")
    setattr(model.get_submodule(owner), leaf, torch.nn.Parameter(tensor, requires_grad=False))


def _for_file(name: str, tensor: Tensor) -> Tensor:
    square = tensor.ndim == 3 and tensor.shape[1] == tensor.shape[2]
    return tensor.mT if name.endswith(_TRANSPOSED) and not square else tensor


def _listed(names: list[str]) -> str:
    more = f" and {len(names) - _NAMED} more" if len(names) > _NAMED else ""
    return ", ".join(names[:_NAMED]) + more


def _write_json(path: Path, value: Mapping[str, Any]) -> None:
    path.write_text(json.dumps(value, indent=2) + "\n", encoding="utf-8")
