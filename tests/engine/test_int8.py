"""int8 weights against their dequantised selves and against the network they come from."""

from __future__ import annotations

import copy
import subprocess
import sys
from pathlib import Path

import pytest
import torch

from deixis.engine import Engine, Sampling
from deixis.engine.int8 import Int8Linear, Int8Weight, can_pack_int8, int8_network
from deixis.engine.ops import TorchOps
from deixis.errors import OptionError
from deixis.model import Checkpoint, Qwen3VL, Qwen3VLConfig, open_checkpoint
from tests.engine.checkpoints import write_checkpoint
from tests.model import tiny

pytestmark = pytest.mark.skipif(not can_pack_int8(), reason="this processor has no packed int8 products")


def weights(rows: int, columns: int, seed: int = 0) -> torch.Tensor:
    generator = torch.Generator().manual_seed(seed)
    spread = torch.rand(rows, 1, generator=generator) * 3 + 0.01  # each row on its own scale
    return torch.randn(rows, columns, generator=generator) * spread


@pytest.mark.parametrize(("rows", "inner", "out"), [(1, 64, 48), (3, 40, 7), (17, 96, 130), (300, 24, 16)])
def test_a_product_equals_the_dequantised_one(rows: int, inner: int, out: int) -> None:
    packed = Int8Weight(weights(out, inner))
    x = torch.randn(rows, inner, generator=torch.Generator().manual_seed(1))
    x[0] *= 1000  # a row far larger than the others keeps them as they are
    bias = torch.randn(out, generator=torch.Generator().manual_seed(2))
    expected = x @ packed.dequantized().T + bias
    found = packed.product(x, bias)
    # 14 bits of each row's largest activation; one digit alone would be off by a hundred times as much.
    error = (found - expected).abs().amax(1) / (expected - bias).abs().amax(1)
    assert error.max() < 2e-3
    assert torch.equal(TorchOps().linear(x, packed, bias), found)


def test_the_extremes_do_not_overflow() -> None:
    # All activations and weights at their largest: where sixteen bits are added up pair by pair, more would wrap around.
    packed = Int8Weight(torch.ones(8, 256))
    for sign in (1.0, -1.0):
        assert torch.allclose(packed.product(sign * torch.ones(2, 256)), torch.full((2, 8), sign * 256), rtol=1e-3)
    halves = torch.ones(1, 256) * (1 - 0.5 / 63)  # between two steps of the first digit: the second at its largest
    halves[0, 0] = 1
    assert torch.allclose(packed.product(halves), halves.sum() * torch.ones(1, 8), rtol=1e-3)


def test_weights_are_within_half_a_step_and_zeros_stay() -> None:
    plain = weights(20_000, 5)  # more rows than are quantised at a time
    plain[3] = 0
    packed = Int8Weight(plain)
    step = plain.abs().amax(1, keepdim=True) / 127
    assert ((packed.dequantized() - plain).abs() <= step * 0.501 + 1e-12).all()
    assert packed.product(torch.ones(1, 5))[0, 3] == 0
    assert (packed.product(torch.zeros(2, 5)) == 0).all()
    assert packed.product(torch.ones(2, 5, dtype=torch.bfloat16)).dtype == torch.bfloat16


def test_a_linear_takes_its_rows_and_any_shape() -> None:
    packed, bias = Int8Weight(weights(12, 16)), torch.arange(4.0)
    x = torch.randn(2, 3, 16, generator=torch.Generator().manual_seed(3))
    found = Int8Linear(packed, bias, slice(4, 8))(x)
    assert found.shape == (2, 3, 4)
    assert torch.allclose(found, packed.product(x.flatten(0, 1))[:, 4:8].view(2, 3, 4) + bias)


@pytest.fixture(scope="module")
def checkpoint(tmp_path_factory: pytest.TempPathFactory) -> Checkpoint:
    return open_checkpoint(write_checkpoint(tmp_path_factory.mktemp("int8")))


def messages() -> list[dict[str, object]]:
    picture = tiny.photo(64, 96, 1)
    return [{"role": "user", "content": [{"type": "image", "image": picture}, {"type": "text", "text": "where"}]}]


@torch.inference_mode()
def test_the_network_is_close_and_serves_and_the_model_follows(checkpoint: Checkpoint) -> None:
    model = copy.deepcopy(checkpoint.model).bfloat16()  # norms and table become float32 again
    network = int8_network(model)
    assert model.dtype == torch.float32
    inputs = checkpoint.processor.encode(messages())
    before = checkpoint.model.logits(checkpoint.model(inputs)[0])
    after = model.logits(model(inputs)[0])  # the model's own modules, as explanations use them
    assert (after - before).norm() / before.norm() < 0.1
    there = Checkpoint(checkpoint.directory, checkpoint.config, model, checkpoint.processor, checkpoint.stop_ids)
    reply = Engine(there, network=network).submit(messages(), Sampling(max_new_tokens=8, ignore_stop_tokens=True)).result()
    read = model.logits(model(inputs.followed_by(reply.ids[:-1]))[0])
    for at, token in enumerate(reply.ids):  # the engine's packed products against the model's, token by token
        scores = read[inputs.length - 1 + at].log_softmax(-1)
        assert scores[token] == pytest.approx(reply.logprobs[at], abs=2e-2)
        assert scores.max() - scores[token] < 4e-2


def test_what_cannot_be_packed_is_refused() -> None:
    with pytest.raises(OptionError, match="dense networks on the CPU"):
        int8_network(Qwen3VL(Qwen3VLConfig.from_dict(tiny.config_dict(sparse=True))))


def test_importing_the_engine_loads_no_compiler(tmp_path: Path) -> None:
    # 0.9 s of each new process.
    program = "import sys, deixis.engine; sys.exit('torch._dynamo' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", program], cwd=tmp_path, check=False).returncode == 0
