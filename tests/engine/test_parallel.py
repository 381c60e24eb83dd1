"""Two processes with half the weights each answer as one process with all of them."""

import os
from dataclasses import fields, replace
from pathlib import Path

import pytest
import torch
import torch.distributed as dist
import torch.multiprocessing as mp

from deixis.engine.network import Network
from deixis.engine.parallel import parallel_network
from deixis.engine.step import Span, Step
from deixis.errors import OptionError
from deixis.model import Qwen3VL, Qwen3VLConfig, VisualFeatures
from tests.engine.steps import PAGE, slots
from tests.model import tiny

SPANS = [(Span(0, 9, [2, 0]), Span(0, 5, [1])), (Span(9, 1, [2, 0]), Span(5, 1, [1]))]


def model_of(sparse: bool) -> Qwen3VL:
    config = tiny.config_dict(sparse=sparse, attention_bias=True)
    model = Qwen3VL(Qwen3VLConfig.from_dict(config))
    generator = torch.Generator().manual_seed(3)
    model.init_weights(generator, std=0.15)
    model.requires_grad_(False)
    for name, parameter in model.named_parameters():
        if name.endswith("proj.bias"):
            parameter.normal_(generator=generator)
    return model


def steps() -> list[Step]:
    generator = torch.Generator().manual_seed(5)
    out = []
    for spans in SPANS:
        rows = sum(span.count for span in spans)
        at = torch.cat([torch.arange(span.start, span.end) for span in spans]).expand(3, -1).contiguous()
        ids = torch.randint(0, 400, (rows,), generator=generator)
        out.append(Step(spans, ids, at, slots(spans), torch.tensor([0, rows - 1])))
    merged, *taps = (torch.randn(4, 32, generator=generator) for _ in range(4))
    first = out[0]
    seen = VisualFeatures(merged, tuple(taps))
    out[0] = replace(first, visual_rows=torch.tensor([2, 3, 4, 5]), features=seen)
    page = [16, 17, 18, 19], [32, 33, 34, 35]  # what the second sequence said becomes the first's beginning
    out[1] = replace(out[1], copies=torch.tensor(page))
    return out


def work(rank: int, folder: str, sparse: bool) -> None:
    os.environ["GLOO_SOCKET_IFNAME"] = "lo"
    torch.set_num_threads(1)
    dist.init_process_group("gloo", init_method=f"file://{folder}/meet", rank=rank, world_size=2)
    with torch.inference_mode():
        network = parallel_network(model_of(sparse))
        if rank:
            network.follow()
        else:
            kv = network.pages(3, PAGE)
            network.warm(kv)
            found = [network.logits(network.forward(step, kv)) for step in steps()]
            network.end()
            torch.save(found, f"{folder}/found.pt")
    dist.destroy_process_group()


@pytest.mark.parametrize("sparse", [False, True], ids=["dense", "experts"])
def test_two_processes_say_what_one_says(tmp_path: Path, sparse: bool) -> None:
    mp.spawn(work, (str(tmp_path), sparse), nprocs=2)
    found = torch.load(tmp_path / "found.pt", weights_only=True)
    for field in fields(Step):
        assert any(getattr(step, field.name) is not None for step in steps()), f"{field.name} is sent and not tested"
    with torch.inference_mode():
        network = Network(model_of(sparse))
        kv = network.pages(3, PAGE)
        for logits, step in zip(found, steps(), strict=True):
            expected = network.logits(network.forward(step, kv))
            torch.testing.assert_close(logits, expected, atol=2e-5, rtol=1e-4)
            assert torch.equal(logits.argmax(-1), expected.argmax(-1))


def test_heads_that_cannot_be_shared_are_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(dist, "get_world_size", lambda: 3)
    with pytest.raises(OptionError, match="2 key-value heads"):
        parallel_network(model_of(False))
