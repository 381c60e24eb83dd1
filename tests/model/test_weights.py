"""Weights in and out of safetensors: every tensor once, nothing missing, nothing left over."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from safetensors import safe_open
from safetensors.torch import load_file, save_file
from transformers import Qwen3VLForConditionalGeneration
from transformers.utils import logging

from deixis.errors import CheckpointError
from deixis.model import Qwen3VL, Qwen3VLConfig, builtin_template, empty_model, load_weights, open_checkpoint, save_checkpoint
from tests.model import tiny
from tests.model.conftest import Pair, random_model

ONE = "model.safetensors"
INDEX = "model.safetensors.index.json"


@pytest.fixture
def directory(tmp_path: Path) -> Path:
    """A whole tiny checkpoint in a single file, float32."""
    config = tiny.config_dict()
    tiny.write_processor(tmp_path, config, builtin_template())
    save_checkpoint(tmp_path, random_model(config), dtype=torch.float32)
    merge(tmp_path)
    return tmp_path


def merge(directory: Path) -> None:
    """All shards into one file, as small released checkpoints are."""
    shards = sorted(directory.glob("model-*.safetensors"))
    tensors = {name: tensor for shard in shards for name, tensor in load_file(shard).items()}
    for path in [*shards, directory / INDEX]:
        path.unlink()
    save_file(tensors, directory / ONE)


def change(directory: Path, edit: Callable[[dict[str, torch.Tensor]], object]) -> None:
    tensors = load_file(directory / ONE)
    edit(tensors)
    save_file(tensors, directory / ONE)


def load(directory: Path) -> Qwen3VL:
    config = Qwen3VLConfig.from_dict(json.loads((directory / "config.json").read_text(encoding="utf-8")))
    model = empty_model(config)
    load_weights(model, directory)
    return model


@pytest.mark.parametrize("sparse", [False, True])
def test_saved_and_loaded_weights_are_equal(tmp_path: Path, sparse: bool) -> None:
    model = random_model(tiny.config_dict(sparse=sparse))
    save_checkpoint(tmp_path, model, dtype=torch.float32)
    loaded = load(tmp_path)
    assert not loaded.training
    expected = dict(model.named_parameters())
    assert all(torch.equal(p, expected.pop(name)) for name, p in loaded.named_parameters())
    assert not expected


def test_shards_are_small_and_bfloat16(tmp_path: Path) -> None:
    (tmp_path / "model-00009-of-00009.safetensors").write_bytes(b"an older run's")
    save_checkpoint(tmp_path, random_model(tiny.config_dict()), shard_bytes=20_000)
    index = json.loads((tmp_path / INDEX).read_text(encoding="utf-8"))
    files = sorted(tmp_path.glob("*.safetensors"))
    assert len(files) > 3
    assert sorted(set(index["weight_map"].values())) == [f.name for f in files]
    total = 0
    for file in files:
        with safe_open(file, "pt") as opened:
            tensors = [opened.get_tensor(name) for name in opened.keys()]  # noqa: SIM118
        assert {t.dtype for t in tensors} == {torch.bfloat16}
        assert sum(t.nbytes for t in tensors) <= 20_000 or len(tensors) == 1
        total += sum(t.nbytes for t in tensors)
    assert index["metadata"]["total_size"] == total
    assert json.loads((tmp_path / "config.json").read_text(encoding="utf-8"))["dtype"] == "bfloat16"


def test_transformers_writes_what_we_read(pair: Pair, tmp_path: Path) -> None:
    """The other direction: its save_pretrained, MoE experts transposed and all."""
    pair.theirs.save_pretrained(tmp_path, max_shard_size="50KB")
    expected = dict(pair.ours.model.named_parameters())
    loaded = dict(load(tmp_path).named_parameters())
    assert loaded.keys() == expected.keys()
    assert all(torch.equal(p, expected[name]) for name, p in loaded.items())


def test_files_hold_experts_transposed(tmp_path: Path) -> None:
    """As the released MoE checkpoints do: (experts, hidden, 2 * inner) and (experts, inner, hidden)."""
    save_checkpoint(tmp_path, random_model(tiny.config_dict(sparse=True)))
    merge(tmp_path)
    tensors = load_file(tmp_path / ONE)
    assert tensors["model.language_model.layers.0.mlp.experts.gate_up_proj"].shape == (8, 32, 48)
    assert tensors["model.language_model.layers.0.mlp.experts.down_proj"].shape == (8, 24, 32)


def test_the_head_of_a_tied_checkpoint_may_be_there_twice(directory: Path) -> None:
    change(directory, lambda t: t.update({"lm_head.weight": t["model.language_model.embed_tokens.weight"].clone()}))
    assert load(directory).config.tie_word_embeddings


NORM = "model.language_model.norm.weight"


@pytest.mark.parametrize(
    ("edit", "told"),
    [
        (lambda t: t.pop(NORM), f"1 missing: {NORM}"),
        (lambda t: t.update({"model.language_model.extra": torch.zeros(1)}), "1 left over: model.language_model.extra"),
        (lambda t: t.update({"audio.weight": torch.zeros(1)}), "1 left over: audio.weight"),
        (lambda t: t.update({NORM: torch.zeros(31)}), rf"1 misshapen: {NORM} \(31,\), expected \(32,\)"),
        (lambda t: t.update({NORM: torch.zeros(32, dtype=torch.int64)}), "int64"),
        (lambda t: t.update({NORM: torch.zeros(32).to(torch.float8_e4m3fn)}), "float8"),
        (lambda t: [t.pop(name) for name in list(t) if "layers.1." in name], "11 missing: .* and 5 more"),
    ],
)
def test_tensors_that_do_not_fit_are_named(directory: Path, edit: Callable[[dict[str, torch.Tensor]], object], told: str) -> None:
    change(directory, edit)
    with pytest.raises(CheckpointError, match=told) as caught:
        load(directory)
    assert "\n" not in str(caught.value)


def test_broken_files_are_told(directory: Path) -> None:
    whole = (directory / ONE).read_bytes()
    (directory / ONE).write_bytes(whole[:2000])
    with pytest.raises(CheckpointError, match="cannot be read"):
        load(directory)
    (directory / ONE).unlink()
    with pytest.raises(CheckpointError, match=ONE):
        load(directory)
    (directory / INDEX).write_text(json.dumps({"weight_map": {"a": "../../etc/passwd", "b": "b.safetensors"}}), encoding="utf-8")
    with pytest.raises(CheckpointError, match=r"lacks passwd, b\.safetensors"):
        load(directory)
    (directory / INDEX).write_text("[]", encoding="utf-8")
    with pytest.raises(CheckpointError, match="not a safetensors index"):
        load(directory)


def test_fp8_checkpoints_are_widened(directory: Path) -> None:
    """Blocks of 16 x 24 share a scale; the last ones are cut off by the matrix's edge."""
    name, block = "model.language_model.layers.2.mlp.up_proj.weight", (16, 24)
    exact: dict[str, torch.Tensor] = {}

    def quantize(tensors: dict[str, torch.Tensor]) -> None:
        weight = tensors[name]  # (56, 32)
        scale = torch.rand(4, 2) * 0.01 + 0.01
        wide = scale.repeat_interleave(block[0], 0)[:56].repeat_interleave(block[1], 1)[:, :32]
        tensors[name] = (weight / wide).clamp(-448, 448).to(torch.float8_e4m3fn)
        tensors[f"{name}_scale_inv"] = scale
        exact["weight"] = (tensors[name].float() * wide).to(torch.bfloat16)

    change(directory, quantize)
    raw = json.loads((directory / "config.json").read_text(encoding="utf-8"))
    raw["quantization_config"] = {"quant_method": "fp8", "fmt": "e4m3", "weight_block_size": list(block)}
    (directory / "config.json").write_text(json.dumps(raw), encoding="utf-8")
    assert torch.equal(load(directory).language.layers[2].mlp.up_proj.weight, exact["weight"])
    change(directory, lambda t: t.pop(f"{name}_scale_inv"))
    with pytest.raises(CheckpointError, match="float8"):
        load(directory)


def test_open_checkpoint(directory: Path) -> None:
    opened = open_checkpoint(directory)
    assert opened.model.dtype == torch.float32  # small, on a CPU
    assert open_checkpoint(directory, dtype=torch.bfloat16).model.dtype == torch.bfloat16
    assert opened.stop_ids == {tiny.token_id("<|im_end|>"), tiny.token_id("<|endoftext|>")}
    assert opened.directory == directory
    generation = directory / "generation_config.json"
    generation.write_text(json.dumps({"eos_token_id": 7}), encoding="utf-8")
    assert open_checkpoint(directory).stop_ids == {7}
    generation.unlink()
    assert open_checkpoint(directory).stop_ids == opened.stop_ids
    (directory / "config.json").unlink()
    with pytest.raises(CheckpointError, match=r"no config\.json"):
        open_checkpoint(directory)


def test_a_cast_network_still_turns_in_float32(directory: Path) -> None:
    """Rotary tables are no part of the weights: casting to bfloat16 must leave far positions exact."""
    model = open_checkpoint(directory, dtype=torch.bfloat16).model
    cos, _ = model.language.rope(torch.full((3, 1, 1), 4001))
    assert cos.dtype == torch.float32
    assert float(cos[0, 0, 0, 0]) == pytest.approx(torch.tensor(4001.0).cos().item(), abs=1e-6)


def test_transformers_loads_a_bfloat16_checkpoint_whole(tmp_path: Path) -> None:
    logging.disable_progress_bar()
    save_checkpoint(tmp_path, random_model(tiny.config_dict()), shard_bytes=50_000)
    model, info = Qwen3VLForConditionalGeneration.from_pretrained(tmp_path, output_loading_info=True)
    assert not any(info.values())
    assert model.dtype == torch.bfloat16
