"""The speed benchmark: its arithmetic, its shapes, and a whole small sitting on the CPU."""

from __future__ import annotations

import json
import math
import textwrap
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from deixis.cli import run
from deixis.errors import OptionError
from deixis.lab.speed import growth, peers
from deixis.lab.speed.asked import drawn, read_calls, write_calls
from deixis.lab.speed.asking import Asking, asking_of, picture, question
from deixis.lab.speed.drawing import draw_curves
from deixis.lab.speed.machine import Cost, Machine
from deixis.lab.speed.run import Sitting
from deixis.lab.speed.shapes import SHAPES, config_of, random_model, write_files
from deixis.lab.speed.table import Row, limits_of, report, rows_of, told
from deixis.model import Processor, Qwen3VLConfig, empty_model

H200 = Machine("H200", "cuda", 4.3e12, 790e12, "2.13", 8)
SMALL = Asking(side_px=64, repeats=1, burst_repeats=1, decode_tokens=2, requests=2, request_tokens=2)


@pytest.mark.parametrize(
    ("row", "ratio", "share", "met"),
    [
        (Row("first", "", "ms", 20, "vllm", 58, 9.3, goal=20), 2.9, 0.465, True),
        (Row("first", "", "ms", 40, "vllm", 20, 10, goal=20), 0.5, 0.25, False),
        (Row("decode", "", "tok/s", 900, "vllm", 450, 1200, goal=850), 2, 0.75, True),
        (Row("decode", "", "tok/s", 300, "vllm", 600, 1200, goal=850), 0.5, 0.25, False),
        (Row("first", "", "ms", 100, "transformers", 500, None, goal_ratio=4), 5, None, True),
        (Row("first", "", "ms", 100, "transformers", 300, None, goal_ratio=4), 3, None, False),
        (Row("first", "", "ms", 100, "transformers", None, None, goal_ratio=4), None, None, None),
        (Row("first", "", "ms", None, "vllm", 58, 9.3, goal=20), None, None, None),
    ],
)
def test_more_than_one_is_better_whatever_the_unit(row: Row, ratio: float | None, share: float | None, met: bool | None) -> None:
    assert (row.ratio, row.share, row.met) == (pytest.approx(ratio), pytest.approx(share), met)
    shown = row.to_json()
    assert (shown["ratio"], shown["share"], shown["met"]) == (pytest.approx(ratio), pytest.approx(share), met)
    assert ("missed" in told(row)[-1], "met" in told(row)[-1]) == (met is False, met is True)


@pytest.mark.parametrize("shape", [shape for shape in SHAPES if shape != "nano"])
def test_costs_count_the_networks_own_matrices(shape: str) -> None:
    config = config_of(shape)
    assert Qwen3VLConfig.from_dict(config.to_dict()) == config
    model = empty_model(config)
    cost = Cost(config, 2, 2)
    matrices = sum(p.numel() for name, p in model.language.layers.named_parameters() if "proj" in name)
    assert cost.layer_weights == matrices
    assert cost.head_weights == model.language.embed_tokens.weight.numel()
    per_patch = (
        sum(p.numel() for p in model.visual.blocks.parameters() if p.ndim == 2) + model.visual.patch_embed.proj.weight.numel()
    )
    mergers = [*model.visual.merger.parameters(), *model.visual.deepstack_merger_list.parameters()]
    per_patch += sum(p.numel() for p in mergers if p.ndim == 2) / 4
    # Beside products there is attention alone, which grows with the square.
    one, two = cost.vision_flops(1000), cost.vision_flops(2000)
    assert (4 * one - two) / 2 == pytest.approx(2 * per_patch * 1000)


def test_limits_are_those_of_the_issue() -> None:
    # Counted there at 4.3 TB/s and 790 TFLOP/s: 9.3 ms, 1,205 tokens/s; 25.7 ms, 281 tokens/s.
    for shape, first_ms, tokens_s in (("2B", 9.3, 1205), ("8B", 25.7, 281)):
        limits = limits_of(asking_of("cuda", shape), H200, Cost(config_of(shape), 2, 2))
        assert limits["first"] == pytest.approx(first_ms, rel=0.08)
        assert limits["decode"] == pytest.approx(tokens_s, rel=0.05)
        assert limits["second"] < limits["first"] and limits["many"] < limits["one"]
        assert limits["many"] < 1e3 / limits["first"]


def test_the_table_has_the_documented_shape() -> None:
    cost = Cost(config_of("2B"), 2, 2)
    rows = rows_of("cuda", "2B", asking_of("cuda", "2B"), {"first": 18.0}, "vllm", {"first": 58.0}, H200, cost)
    told_json = json.loads(json.dumps(report(rows, H200, {"shape": "2B"}), allow_nan=False))
    assert [row["key"] for row in told_json["rows"]] == ["first", "second", "decode", "many", "one"]
    assert {"name", "value", "unit", "peer", "ratio", "limit", "share", "goal", "met"} <= set(told_json["rows"][0])
    assert told_json["rows"][0]["peer"] == {"name": "vllm", "value": 58.0} and told_json["rows"][0]["met"] is True
    assert told_json["machine"]["name"] == "H200" and told_json["shape"] == "2B"
    alone = rows_of("cpu", "nano", SMALL, {"one": 9.0, "alone": 2.0}, "none", {}, H200, cost)[-1]
    assert (alone.key, alone.ratio, alone.met) == ("alone", 4.5, True)
    assert [row.peer for row in rows_of("cpu", "nano", SMALL, {}, "none", {}, H200, cost)] == [""] * 5


def test_fits_find_what_points_were_made_of() -> None:
    n = np.array([1e3, 4e3, 16e3, 64e3])
    terms = np.stack([np.ones_like(n), n, n**2], 1)
    assert growth.fitted(terms, terms @ [3.0, 2e-3, 1e-7]) == pytest.approx([3.0, 2e-3, 1e-7], rel=1e-6)
    assert growth.fitted(terms[:, :2], 5 - 1e-5 * n)[1] == 0  # no time shrinks
    assert len(growth.words(77)) == 77


def test_pictures_and_questions_are_new_and_the_same_for_everybody() -> None:
    assert picture(1, 8).shape == (8, 8, 3) and picture(1, 8).dtype == np.uint8
    assert (picture(1, 8) == picture(1, 8)).all() and (picture(1, 8) != picture(2, 8)).any()
    assert question(1, "first")[0] != question(2, "first")[0]


def test_calls_come_back_as_they_were(tmp_path: Path) -> None:
    message = {"role": "user", "content": [{"type": "image", "image": drawn(1)}, {"type": "text", "text": "where?"}]}
    write_calls([([message], 7)], tmp_path)
    [([read], tokens)] = read_calls(tmp_path)
    assert tokens == 7 and read["role"] == "user" and read["content"][1] == message["content"][1]
    assert (read["content"][0]["image"] == drawn(1)).all() and (drawn(1) != drawn(2)).any()


def test_a_random_network_is_all_numbers() -> None:
    config = Qwen3VLConfig.from_dict(json.loads((write_files("nano", Path()) / "config.json").read_text(encoding="utf-8")))
    model = random_model(config, torch.device("cpu"), torch.bfloat16)
    for name, parameter in model.named_parameters():
        assert parameter.isfinite().all() and (parameter.ndim == 1 or 0.01 < parameter.float().std() < 0.03), name
    assert (model.language.norm.weight == 1).all() and (model.visual.merger.norm.weight == 1).all()
    assert (model.visual.blocks[0].attn.qkv.bias == 0).all()


def test_peers_read_the_files_that_this_house_reads(tmp_path: Path) -> None:
    folder = write_files("2B", tmp_path / "2B")
    processor = Processor.from_directory(folder)
    assert processor.config == config_of("2B")
    message = {"role": "user", "content": [{"type": "image", "image": picture(0, 64)}, {"type": "text", "text": "hi hi"}]}
    assert processor.encode([message]).input_ids.tolist().count(151_655) == 64  # 256 x 256 px is the least
    assert write_files("nano", tmp_path / "nano").name == "nano"


def test_a_small_sitting_leaves_table_json_and_pictures(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(growth.TOKENS, "cpu", (32, 64))
    monkeypatch.setitem(growth.STREAMS, "cpu", (1, 2))
    monkeypatch.setitem(growth.STEPS, "cpu", 2)
    said: list[str] = []
    sitting = Sitting("nano", "cpu", out=tmp_path, asking=SMALL, say=said.append)
    result = sitting.run(grow=True, look=True)
    assert all(row["value"] > 0 for row in result["rows"])
    assert all(row["share"] > 0 for row in result["rows"][1:])
    assert [row["key"] for row in result["rows"]] == ["ask", "first", "second", "decode", "many", "one", "alone"]
    assert json.loads((tmp_path / "speed-nano-cpu.json").read_text(encoding="utf-8")) == result
    for name in ("speed-nano-cpu.png", "growth_first_token.png", "growth_decode_step.png"):
        with Image.open(tmp_path / name) as drawn:
            assert drawn.width == 1000
    for part in ("first_token", "decode_step"):
        kernels = result["profile"][part]["kernels"]
        assert kernels and math.isclose(kernels[0]["share"], max(kernel["share"] for kernel in kernels))
        assert len(result["growth"][part]["points"]) == 2
    assert said[0].startswith(result["machine"]["name"]) and any("ours many" in line for line in said)


# What a peer says and how it ends -> what is heard.
PEERS = {
    "fine": ("tell('version', '1'); print('noise'); tell('first', 5.0)", [("version", "1"), ("first", 5.0)]),
    "dies": ("tell('first', 5.0); sys.exit('out of memory')", [("first", 5.0), ("failed", "out of memory")]),
    "hangs": ("tell('first', 5.0); import time; time.sleep(60)", [("first", 5.0), ("failed", "ended with -9")]),
}


@pytest.mark.parametrize("name", PEERS)
def test_a_peer_is_heard_to_its_end(name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    program, expected = PEERS[name]
    tell = "def tell(row, value):\n    print(json.dumps({'row': row, 'value': value}), flush=True)\n"
    (tmp_path / "peer_program.py").write_text(f"import json, sys\n{textwrap.dedent(tell)}{program}\n", encoding="utf-8")
    monkeypatch.setattr(peers, "MODULE", "peer_program")
    heard = list(peers.peer_rows("vllm", "nano", SMALL, "cuda", "bfloat16", path=str(tmp_path), timeout_s=8))
    assert len(heard) == len(expected)
    for (row, value), (expected_row, expected_value) in zip(heard, expected, strict=True):
        assert row == expected_row
        assert expected_value in value if row == "failed" else value == expected_value


REFUSED = [
    (["--model-shape", "3B"], "shape is '3B', expected one of nano, 2B, 4B, 8B"),
    (["--peer", "sglang"], "peer is 'sglang'"),
    (["--peer", "vllm"], "vLLM is measured on CUDA alone"),
    (["--weights", "int3"], "weights is 'int3'"),
]


@pytest.mark.parametrize(("options", "message"), REFUSED)
def test_what_cannot_be_measured_is_said(options: list[str], message: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["bench", "speed", *options]) == 2
    assert message in capsys.readouterr().err


def test_no_gpu_is_said() -> None:
    if not torch.cuda.is_available():
        with pytest.raises(OptionError, match="no CUDA device"):
            Sitting("2B", "cuda")


def test_curves_of_one_point_can_be_drawn(tmp_path: Path) -> None:
    draw_curves({"measured": [(1024, 3.0)]}, "one", "tokens", "ms", tmp_path / "one.png")
    assert (tmp_path / "one.png").stat().st_size > 1000
