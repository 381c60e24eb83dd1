"""The network under CUDA graphs is the network: every bucket, with rows of padding, again and again over the same buffers."""

import pytest
import torch

if not torch.cuda.is_available():
    pytest.skip("CUDA graphs need an NVIDIA GPU", allow_module_level=True)
pytest.importorskip("triton", reason="triton is not installed here")

from deixis.engine.fp8 import fp8_network, round_weights
from deixis.engine.graphs import GraphNetwork
from deixis.engine.network import Network
from deixis.engine.step import Step
from deixis.model import Qwen3VL, Qwen3VLConfig
from tests.engine.steps import MIXES, PAGE, pages_of, slots
from tests.model import tiny


def model_of(dtype: torch.dtype, *, sparse: bool = False) -> Qwen3VL:
    text = {"hidden_size": 256, "intermediate_size": 512, "head_dim": 64, "num_attention_heads": 4, "num_key_value_heads": 2}
    text |= {"moe_intermediate_size": 64} if sparse else {}
    raw = tiny.config_dict(sparse=sparse, **text)
    raw["text_config"]["rope_scaling"]["mrope_section"] = [12, 10, 10]
    raw["vision_config"]["out_hidden_size"] = 256
    model = Qwen3VL(Qwen3VLConfig.from_dict(raw))
    model.init_weights(torch.Generator().manual_seed(0), std=0.06)
    return model.to("cuda", dtype)


def step_of(name: str, seed: int, *, on_gpu: bool) -> Step:
    spans = MIXES[name]
    rows = sum(span.count for span in spans)
    generator = torch.Generator().manual_seed(seed)
    at = torch.cat([torch.arange(span.start, span.end) for span in spans]).expand(3, -1).contiguous()
    last = torch.tensor([span.count for span in spans]).cumsum(0) - 1
    given = torch.randint(0, 400, (rows,), generator=generator), at, slots(spans), last
    return Step(spans, *(one.cuda() if on_gpu else one for one in given))


@torch.inference_mode()
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16], ids=str)
def test_every_mix_of_rows(dtype: torch.dtype) -> None:
    model = model_of(dtype)
    fast, plain = GraphNetwork(model), Network(model)
    caches = [network.pages(80, PAGE) for network in (fast, plain)]
    generator = torch.Generator("cuda").manual_seed(0)
    caches[0].keys.normal_(generator=generator)
    caches[0].values.normal_(generator=generator)
    caches[1].keys.copy_(caches[0].keys)
    caches[1].values.copy_(caches[0].values)
    bound = 1e-3 if dtype == torch.float32 else 6e-2
    for turn in range(3):
        for name, spans in MIXES.items():
            if pages_of(spans) > 80:
                continue
            step = step_of(name, turn, on_gpu=turn == 1)
            found, expected = (
                network.logits(network.forward(step, kv)) for network, kv in zip((fast, plain), caches, strict=True)
            )
            assert found.shape == expected.shape
            assert (found - expected).norm() / expected.norm() < bound, name
    for one, other in zip((caches[0].keys, caches[0].values), (caches[1].keys, caches[1].values), strict=True):
        assert (one - other).float().norm() / other.float().norm() < bound


@torch.inference_mode()
def test_float8_weights() -> None:
    models = [model_of(torch.bfloat16) for _ in range(2)]
    round_weights(models[1])
    fast, plain = fp8_network(models[0]), Network(models[1])
    for name in ("one stream", "streams", "second question", "a picture read"):
        step = step_of(name, 0, on_gpu=True)
        caches = [network.pages(pages_of(MIXES[name]), PAGE) for network in (fast, plain)]
        found, expected = (network.logits(network.forward(step, kv)) for network, kv in zip((fast, plain), caches, strict=True))
        # Activations have eight bits, too, where there are many rows.
        assert (found - expected).norm() / expected.norm() < 0.1, name


@torch.inference_mode()
def test_experts_in_one_product_under_a_graph() -> None:
    model = model_of(torch.bfloat16, sparse=True)
    fast, plain = GraphNetwork(model), Network(model)
    assert fast.capturable and not plain.capturable
    for name in ("one stream", "streams", "second question"):
        step = step_of(name, 0, on_gpu=True)
        caches = [network.pages(pages_of(MIXES[name]), PAGE) for network in (fast, plain)]
        found, expected = (network.logits(network.forward(step, kv)) for network, kv in zip((fast, plain), caches, strict=True))
        assert (found - expected).norm() / expected.norm() < 0.1, name
