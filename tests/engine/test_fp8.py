"""float8 weights: as near as eight bits come, and a network with them is the network whose weights are rounded so."""

import pytest
import torch

from deixis.engine.fp8 import Fp8Weight, fp8_network, quantised, round_weights
from deixis.engine.network import Network
from deixis.engine.step import Step
from deixis.errors import OptionError
from deixis.model import Qwen3VL, Qwen3VLConfig
from tests.engine.steps import MIXES, PAGE, pages_of, slots
from tests.model import tiny


def test_rows_come_back_within_half_a_step_of_three_bits() -> None:
    x = torch.randn(20, 64, generator=torch.Generator().manual_seed(0)) * torch.logspace(-6, 3, 20).unsqueeze(1)
    x[3] = 0
    numbers, scale = quantised(x)
    back = numbers.float() * scale.unsqueeze(1)
    largest = x.abs().amax(1, keepdim=True)
    # Half a unit in the last of three bits, and for the smallest numbers half of the smallest step.
    assert ((back - x).abs() <= x.abs() * 2**-4 + largest / 448 * 2**-10 + 1e-30).all()
    assert (back.abs().amax(1) - largest[:, 0]).abs().max() <= 1e-6 * largest.max()


def test_the_product_is_with_the_rounded_matrix() -> None:
    generator = torch.Generator().manual_seed(1)
    weight, x, bias = (torch.randn(*shape, generator=generator) for shape in ((24, 16), (5, 16), (24,)))
    packed = Fp8Weight(weight)
    torch.testing.assert_close(packed.product(x, bias), x @ packed.dequantized(torch.float32).T + bias)
    assert 0 < (packed.product(x) - x @ weight.T).norm() / (x @ weight.T).norm() < 0.05


@torch.inference_mode()
def test_the_network_equals_one_with_rounded_weights() -> None:
    config = Qwen3VLConfig.from_dict(tiny.config_dict())
    models = [Qwen3VL(config), Qwen3VL(config)]
    for model in models:
        model.init_weights(torch.Generator().manual_seed(2), std=0.15)
    plain = [parameter.clone() for parameter in models[1].parameters()]
    round_weights(models[1])
    changed = sum(not torch.equal(a, b) for a, b in zip(plain, models[1].parameters(), strict=True))
    assert changed == 7 * config.text.num_hidden_layers
    spans = MIXES["second question"]
    rows = sum(span.count for span in spans)
    at = torch.cat([torch.arange(span.start, span.end) for span in spans]).expand(3, -1).contiguous()
    step = Step(spans, torch.arange(rows), at, slots(spans), torch.arange(rows))
    found = []
    for network in (fp8_network(models[0]), Network(models[1])):
        kv = network.pages(pages_of(spans), PAGE)
        found.append(network.logits(network.forward(step, kv)))
    torch.testing.assert_close(*found, atol=1e-5, rtol=1e-5)


def test_experts_are_refused() -> None:
    with pytest.raises(OptionError, match="dense"):
        fp8_network(Qwen3VL(Qwen3VLConfig.from_dict(tiny.config_dict(sparse=True))))
