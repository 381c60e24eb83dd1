"""Every Triton kernel equals its plain reference: on a GPU where there is one, else by triton's interpreter on the CPU."""

import os

import numpy as np
import pytest
import torch

if not torch.cuda.is_available():
    os.environ.setdefault("TRITON_INTERPRET", "1")
pytest.importorskip("triton", reason="triton is not installed here: its kernels run on machines with an NVIDIA GPU")

from deixis.engine.network import Network
from deixis.engine.ops import TorchOps
from deixis.engine.step import KVPages, Step
from deixis.engine.triton_ops import TritonOps
from deixis.model import Qwen3VL, Qwen3VLConfig, TextConfig
from tests.engine.steps import MIXES, PAGE, pages_of, random_cache, slots
from tests.model import tiny

CUDA = torch.cuda.is_available()
# int() of an array of one, which NumPy gave up.
INTERPRETER_LOOPS = pytest.mark.skipif(
    not CUDA and np.lib.NumpyVersion(np.__version__) >= "2.4.0",
    reason="triton's interpreter cannot loop up to a bound that it reads under NumPy 2.4 and later",
)
DEVICE = "cuda" if CUDA else "cpu"
DTYPES = [torch.float32, torch.bfloat16] if CUDA else [torch.float32]
TOLERANCE = {torch.float32: 2e-5, torch.bfloat16: 3e-2}
PLAIN, FAST = TorchOps(), TritonOps()


def drawn(*shape: int, dtype: torch.dtype = torch.float32, seed: int = 0, scale: float = 1.0) -> torch.Tensor:
    return (torch.randn(shape, generator=torch.Generator().manual_seed(seed)) * scale).to(dtype).to(DEVICE)


def close(found: torch.Tensor, expected: torch.Tensor, dtype: torch.dtype) -> None:
    assert found.dtype == expected.dtype
    torch.testing.assert_close(found.float(), expected.float(), atol=TOLERANCE[dtype], rtol=TOLERANCE[dtype])


@pytest.mark.parametrize("dtype", DTYPES, ids=str)
@pytest.mark.parametrize("rows", [1, 2, 3, 4, 9])
@pytest.mark.parametrize(("inside", "outside"), [(64, 48), (320, 30), (1280, 17)])
def test_products_of_few_rows(rows: int, inside: int, outside: int, dtype: torch.dtype) -> None:
    x, residual = drawn(rows, inside, dtype=dtype), drawn(rows, outside, dtype=dtype, seed=1)
    weight = drawn(2 * outside, inside, dtype=dtype, seed=2, scale=inside**-0.5)
    half, norm, bias = weight[:outside], drawn(inside, dtype=dtype, seed=3), drawn(outside, dtype=dtype, seed=4)
    close(FAST.norm_linear(x, norm, 1e-6, half, bias), PLAIN.norm_linear(x, norm, 1e-6, half, bias), dtype)
    close(FAST.norm_gate_up(x, norm, 1e-6, weight), PLAIN.norm_gate_up(x, norm, 1e-6, weight), dtype)
    close(FAST.scores(x, half), PLAIN.scores(x, half), dtype)
    expected = PLAIN.add_linear(residual, x, half)
    close(FAST.add_linear(residual.clone(), x, half), expected, dtype)


@pytest.mark.parametrize("dtype", DTYPES, ids=str)
def test_what_is_done_to_each_row(dtype: torch.dtype) -> None:
    x, norm = drawn(7, 320, dtype=dtype), drawn(320, dtype=dtype, seed=1)
    wanted = torch.tensor([6, 0, 3], device=DEVICE)
    close(FAST.rms_norm(x, norm, 1e-6), PLAIN.rms_norm(x, norm, 1e-6), dtype)
    close(FAST.last_norm(x, wanted, norm, 1e-6), PLAIN.last_norm(x, wanted, norm, 1e-6), dtype)
    close(FAST.silu_mul(x), PLAIN.silu_mul(x), dtype)


@pytest.mark.parametrize(("rows", "vocab"), [(1, 600), (3, 1280), (2, 40_000)])
def test_the_likeliest_tokens(rows: int, vocab: int) -> None:
    logits = drawn(rows, vocab, scale=3.0)
    logits[0, 17] = logits[0, 500] = 20.0  # equal ones: the first comes first
    logits[0, 33] = float("-inf")
    best, ids, total = FAST.likeliest(logits, 10)
    expected, places, expected_total = PLAIN.likeliest(logits, 10)
    torch.testing.assert_close(best, expected, atol=2e-5, rtol=1e-5)
    torch.testing.assert_close(total, expected_total, atol=2e-5, rtol=1e-5)
    assert ids[0, :2].tolist() == [17, 500] and (ids[:, 2:] == places[:, 2:]).all()


@pytest.mark.filterwarnings("ignore::RuntimeWarning")
def test_of_logits_that_are_no_numbers_the_ids_are_ids() -> None:
    logits = torch.full((2, 600), float("nan"), device=DEVICE)
    logits[1] = drawn(600)
    best, ids, _ = FAST.likeliest(logits, 3)
    assert best[0].isnan().all() and best[1].isfinite().all()
    assert ((ids >= 0) & (ids < 600)).all()


@pytest.mark.parametrize(("rows", "vocab"), [(1, 600), (3, 1280), (2, 40_000)])
def test_the_best_token_that_is_allowed(rows: int, vocab: int) -> None:
    logits = drawn(rows, vocab, scale=3.0)
    generator = torch.Generator().manual_seed(8)
    for _ in range(8):
        bits = torch.randint(-(2**31), 2**31, (rows, -(-vocab // 32)), generator=generator).int().to(DEVICE)
        bits[0] &= torch.randint(0, 2, bits.shape[1:], generator=generator).int().to(DEVICE) << 31  # few, and the sign's bit
        logits[0, 31] = logits[0, 63] = 20.0  # equal ones: the first that is allowed
        assert FAST.best_allowed(logits, bits).tolist() == PLAIN.best_allowed(logits, bits).tolist()
    assert FAST.best_allowed(logits, torch.full_like(bits, -1)).tolist() == logits.argmax(-1).tolist()
    assert FAST.best_allowed(logits, torch.zeros_like(bits)).tolist() == [0] * rows
    assert 0 <= int(FAST.best_allowed(torch.full_like(logits, float("nan")), bits)[0]) < vocab


@pytest.mark.parametrize("dtype", DTYPES, ids=str)
@pytest.mark.parametrize("rows", [1, 5, 130] if CUDA else [1, 5])
def test_queries_and_keys_into_place(rows: int, dtype: torch.dtype) -> None:
    heads, kv_heads, size = 6, 2, 16
    table = drawn(50, 32, dtype=dtype)
    positions = torch.randint(0, 900, (3, rows), generator=torch.Generator().manual_seed(5)).to(DEVICE)
    ids = torch.arange(rows, device=DEVICE) % 50
    turning = (1 / 10 ** (torch.arange(8) / 4)).to(DEVICE), (torch.arange(8) % 3).to(DEVICE), 1.5
    begun, expected = FAST.begin(ids, positions, table, turning), PLAIN.begin(ids, positions, table, turning)
    for found, wanted in zip(begun, expected, strict=True):
        torch.testing.assert_close(found, wanted, atol=2e-4, rtol=1e-4)
    qkv = drawn(rows, (heads + 2 * kv_heads) * size, dtype=dtype)
    norms = drawn(size, dtype=dtype, seed=1), drawn(size, dtype=dtype, seed=2)
    where = torch.randperm(rows + 9, generator=torch.Generator().manual_seed(6))[:rows].to(DEVICE)
    caches = [[torch.full((rows + 9, kv_heads, size), 9.0, dtype=dtype, device=DEVICE) for _ in range(2)] for _ in range(2)]
    q = FAST.place_qkv(qkv, norms, 1e-6, begun[1], begun[2], *caches[0], where)
    close(q, PLAIN.place_qkv(qkv, norms, 1e-6, begun[1], begun[2], *caches[1], where), dtype)
    for found, wanted in zip(*caches, strict=True):
        close(found, wanted, dtype)


def test_a_row_of_padding_leaves_the_cache_alone() -> None:
    keys, values = drawn(4, 2, 16), drawn(4, 2, 16, seed=1)
    before = keys.clone(), values.clone()
    turns = torch.ones(1, 8, device=DEVICE), torch.zeros(1, 8, device=DEVICE)
    norm = torch.ones(16, device=DEVICE)
    FAST.place_qkv(drawn(1, 8 * 16), (norm, norm), 1e-6, *turns, keys, values, torch.tensor([-1], device=DEVICE))
    assert torch.equal(keys, before[0]) and torch.equal(values, before[1])


@INTERPRETER_LOOPS
@pytest.mark.parametrize("dtype", DTYPES, ids=str)
@pytest.mark.parametrize(("heads", "kv_heads", "size"), [(4, 2, 16), (6, 2, 64)])
@pytest.mark.parametrize("name", MIXES)
def test_attention_over_pages(name: str, heads: int, kv_heads: int, size: int, dtype: torch.dtype) -> None:
    spans = MIXES[name]
    config = TextConfig(num_attention_heads=heads, num_key_value_heads=kv_heads, head_dim=size, num_hidden_layers=1)
    kv = KVPages(config, pages_of(spans), DEVICE, dtype, PAGE)
    n = sum(span.count for span in spans)
    qkv, norms = (
        drawn(n, (heads + 2 * kv_heads) * size, dtype=dtype, seed=3),
        (drawn(size, dtype=dtype), drawn(size, dtype=dtype)),
    )
    angles = drawn(n, size // 2, seed=4)
    step = Step(spans, torch.zeros(n, dtype=torch.int64), torch.zeros(3, n), slots(spans).to(DEVICE), torch.zeros(1))
    found = []
    for ops in (FAST, FAST, PLAIN):  # twice: what the first leaves behind must not disturb the second
        caches = [cache.to(DEVICE) for cache in random_cache(spans, kv_heads, size, dtype)]
        found.append((ops.attention(step, kv, config)(qkv, norms, angles.cos(), angles.sin(), *caches), *caches))
    for first, second, plain in zip(*found, strict=True):
        assert torch.equal(first, second)
        close(first, plain, dtype)


@INTERPRETER_LOOPS
@torch.inference_mode()
@pytest.mark.parametrize("name", ["second question", "many about one", "streams"])
def test_a_whole_step(name: str) -> None:
    spans = MIXES[name]
    model = Qwen3VL(Qwen3VLConfig.from_dict(tiny.config_dict())).to(DEVICE)
    model.init_weights(torch.Generator().manual_seed(0), std=0.1)
    rows = sum(span.count for span in spans)
    ids = torch.randint(0, 400, (rows,), generator=torch.Generator().manual_seed(1)).to(DEVICE)
    at = torch.cat([torch.arange(span.start, span.end) for span in spans]).expand(3, -1).contiguous().to(DEVICE)
    step = Step(spans, ids, at, slots(spans).to(DEVICE), torch.arange(rows, device=DEVICE))
    found = []
    for ops in (PLAIN, FAST):
        network = Network(model, ops)
        kv = network.pages(pages_of(spans), PAGE)
        for cache in (kv.keys, kv.values):
            cache.copy_(drawn(*cache.shape, seed=7))
        hidden = network.forward(step, kv)
        found.append((network.logits(hidden), kv.keys, kv.values))
    for plain, fast in zip(*found, strict=True):
        torch.testing.assert_close(fast, plain, atol=1e-4, rtol=1e-4)
