"""The network in steps is the model: with biases, too, which no released checkpoint has."""

import pytest
import torch

from deixis.engine.network import Network
from deixis.engine.step import Span, Step
from deixis.model import ModelInput
from tests.engine.steps import PAGE, slots
from tests.engine.test_parallel import model_of


@torch.inference_mode()
@pytest.mark.parametrize("sparse", [False, True], ids=["dense", "experts"])
def test_a_step_over_pages_is_the_model(sparse: bool) -> None:
    model = model_of(sparse)
    ids, at = torch.randint(0, 400, (9,), generator=torch.Generator().manual_seed(1)), torch.arange(9).expand(3, -1)
    expected = model.logits(model(ModelInput(ids, at, 9, torch.zeros(0, dtype=torch.int64))))[0]
    network, spans = Network(model), (Span(0, 9, [1]),)
    kv = network.pages(2, PAGE)
    found = network.logits(network.forward(Step(spans, ids, at.contiguous(), slots(spans), torch.arange(9)), kv))
    torch.testing.assert_close(found, expected, atol=2e-5, rtol=1e-4)
