"""Packed rows: no question holds another's answer, and each is trained exactly as it will be asked."""

import dataclasses
from collections.abc import Iterator

import numpy as np
import pytest
import torch
from torch import Tensor
from torch.nn.attention.flex_attention import create_mask

from deixis.lab.data import Packed
from deixis.lab.nano import token_id
from deixis.lab.packing import PackedAttention, Prefix, Rows, answer_logits, dense_mask, picture_prefix, rows_of, sight
from deixis.lab.stream import Batch
from deixis.model import ModelInput, Processor
from tests.lab.rendered import shot
from tests.lab.small_nano import asked, processor, small_model, tokenizer

SIZE = (288, 256)  # sides that the network reads as they are, and no square


@pytest.fixture(autouse=True)
def _one_thread() -> Iterator[None]:
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@pytest.fixture(scope="module")
def batch() -> Batch:
    shots = [shot(world, 0, SIZE) for world in ("primitives", "desk")]
    pixels = torch.stack([torch.from_numpy(s.pixels).permute(2, 0, 1) for s in shots])
    return Batch(pixels, asked(shots, 500))


@pytest.fixture(scope="module")
def prefix() -> Prefix:
    return picture_prefix(tokenizer(), SIZE[1], SIZE[0])


@pytest.fixture(scope="module")
def rows(batch: Batch, prefix: Prefix) -> Rows:
    return rows_of(batch, prefix, "cpu")


@pytest.fixture(scope="module")
def reader(tmp_path_factory: pytest.TempPathFactory) -> Processor:
    return processor(tmp_path_factory.mktemp("nano"))


def questions(packed: Packed) -> Iterator[tuple[int, np.ndarray]]:
    """Every question: its row and the columns of its tokens."""
    for row, kinds in enumerate(packed.kinds):
        for number in range(1, len(kinds) + 1):
            yield row, np.flatnonzero(packed.segment[row] == number)


def alone(batch: Batch, reader: Processor, row: int, columns: np.ndarray) -> tuple[ModelInput, int]:
    """The input of somebody who asks only this question, and how many of its tokens are the answer."""
    ids, weight = batch.packed.ids[row, columns], batch.packed.weight[row, columns]
    prompt = reader.decode(ids[: ids.tolist().index(token_id(tokenizer(), "<|im_end|>"))].tolist())
    pixels = batch.pixels[row].permute(1, 2, 0).numpy()
    content = [{"type": "image", "image": pixels}, {"type": "text", "text": prompt}]
    inputs = reader.encode([{"role": "user", "content": content}])
    answer = torch.from_numpy(ids[weight > 0]).long()
    after = inputs.next_position + torch.arange(len(answer)).expand(3, -1)
    grown = {"input_ids": torch.cat([inputs.input_ids, answer]), "positions": torch.cat([inputs.positions, after], 1)}
    return dataclasses.replace(inputs, next_position=inputs.next_position + len(answer), **grown), len(answer)


# --- who sees whom -------------------------------------------------------------------------------------------------


def test_the_mask_lets_see_the_picture_and_the_own_question() -> None:
    segments = [0, 0, 1, 1, 2, 2, 2, -1]
    mask = dense_mask(torch.tensor([segments]))
    assert mask.shape == (1, 1, 8, 8) and mask.dtype == torch.bool
    for q, own in enumerate(segments):
        seen = [k for k in range(q + 1) if segments[k] in (0, own)]
        assert torch.nonzero(mask[0, 0, q]).flatten().tolist() == seen
    assert mask[0, 0, 5].tolist() == [True, True, False, False, True, True, False, False]


@pytest.mark.parametrize("seed", range(3))
def test_the_fast_mask_equals_the_dense_one(seed: int) -> None:
    segment = random_segments(seed)
    b, t = segment.shape
    assert torch.equal(create_mask(sight(segment), b, 1, t, t, device="cpu"), dense_mask(segment))


def random_segments(seed: int) -> Tensor:
    """(3, 96) int32: a prefix, questions of random lengths, padding."""
    generator = torch.Generator().manual_seed(seed)
    rows = []
    for _ in range(3):
        lengths = torch.randint(3, 20, (6,), generator=generator).tolist()
        row = [number for number, length in enumerate(lengths) for _ in range(length)]
        rows.append((row + [-1] * 96)[:96])
    return torch.tensor(rows, dtype=torch.int32)


@pytest.mark.parametrize(
    "device", ["cpu", pytest.param("cuda", marks=pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU"))]
)
def test_attention_equals_plain_softmax(device: str) -> None:
    generator = torch.Generator().manual_seed(3)
    segment = random_segments(4)
    q, k, v = (torch.randn(3, heads, 96, 64, generator=generator) for heads in (6, 2, 2))
    scores = q @ k.repeat_interleave(3, 1).mT / 8
    expected = scores.masked_fill(~dense_mask(segment), -torch.inf).softmax(-1) @ v.repeat_interleave(3, 1)
    found = PackedAttention(segment.to(device))(*(x.to(device) for x in (q, k, v))).cpu()
    assert torch.allclose(found, expected, atol=1e-5 if device == "cpu" else 5e-3)  # a GPU may multiply in TF32


# --- rows ----------------------------------------------------------------------------------------------------------


def test_rows_hold_the_prefix_and_the_questions(batch: Batch, prefix: Prefix, rows: Rows) -> None:
    b, t = batch.packed.ids.shape
    p = len(prefix.ids)
    spoken = len(tokenizer().encode("user\n").ids)
    assert p == 1 + spoken + 1 + 9 * 8 + 1  # <|im_start|> user \n <|vision_start|>, a token per 32 px block, <|vision_end|>
    assert rows.ids.shape == rows.segment.shape == (b, p + t) and rows.positions.shape == (3, b, p + t)
    assert rows.segment.dtype == torch.int32
    assert (rows.segment[:, :p] == 0).all() and torch.equal(rows.segment[:, p:], torch.from_numpy(batch.packed.segment))
    image = token_id(tokenizer(), "<|image_pad|>")
    assert torch.equal(rows.visual_index, (rows.ids.flatten() == image).nonzero()[:, 0])
    assert (rows.weight > 0).all() and len(rows.target) == (batch.packed.weight > 0).sum()
    assert torch.equal(rows.ids.flatten()[rows.target_index + 1], rows.target)
    segment = rows.segment.flatten()
    assert torch.equal(segment[rows.target_index], segment[rows.target_index + 1])  # predicted from within the own question


def test_every_question_reads_as_when_it_is_asked(batch: Batch, rows: Rows, reader: Processor) -> None:
    """Token ids and positions equal those of the processor, which knows nothing of packing."""
    asked_of = set()
    for row, columns in questions(batch.packed):
        inputs, _ = alone(batch, reader, row, columns)
        p = rows.ids.shape[1] - batch.packed.ids.shape[1]
        places = torch.cat([torch.arange(p), torch.from_numpy(columns) + p])
        assert rows.ids[row, places].tolist() == inputs.input_ids.tolist()
        assert rows.positions[:, row, places].tolist() == inputs.positions.tolist()
        asked_of.add(row)
    assert asked_of == {0, 1}


@pytest.mark.parametrize("size", [(256, 448), (448, 256), (640, 480)])
def test_prefixes_of_all_shapes_equal_the_processor(size: tuple[int, int], reader: Processor) -> None:
    width, height = size
    ours = picture_prefix(tokenizer(), height, width)
    picture = np.zeros((height, width, 3), np.uint8)
    inputs = reader.encode([{"role": "user", "content": [{"type": "image", "image": picture}]}])
    p = len(ours.ids)
    assert inputs.input_ids[:p].tolist() == ours.ids.tolist()
    assert inputs.positions[:, :p].tolist() == ours.positions.tolist()
    assert inputs.positions[:, p].tolist() == [ours.next_position] * 3
    assert inputs.visual_index.tolist() == ours.visual.tolist()


# --- the network ---------------------------------------------------------------------------------------------------


@torch.no_grad()
def test_packed_logits_equal_those_of_each_question_alone(batch: Batch, rows: Rows, reader: Processor) -> None:
    model = small_model()
    packed = answer_logits(model, batch.pixels.float() / 127.5 - 1, rows, torch.float32)
    assert packed.shape == (len(rows.target), model.config.text.vocab_size)
    compared = 0
    for row, columns in questions(batch.packed):
        inputs, answer = alone(batch, reader, row, columns)
        hidden = model(inputs)[0, -answer - 1 : -1]
        answers = np.flatnonzero(batch.packed.weight.reshape(-1))
        mine = np.isin(answers, row * batch.packed.ids.shape[1] + columns)
        assert torch.allclose(packed[torch.from_numpy(mine)], model.logits(hidden), atol=1e-4, rtol=1e-4)
        compared += answer
    assert compared == len(rows.target)
    assert packed.std(0).mean() > 0.1  # a network that says the same everywhere would prove nothing


@torch.no_grad()
def test_other_questions_and_their_answers_change_nothing(batch: Batch, prefix: Prefix, rows: Rows) -> None:
    model = small_model()
    pixels = batch.pixels.float() / 127.5 - 1
    before = answer_logits(model, pixels, rows, torch.float32)
    garbled = dataclasses.replace(batch.packed, ids=np.where(batch.packed.segment == 2, batch.packed.ids, 7))
    after = answer_logits(model, pixels, rows_of(Batch(batch.pixels, garbled), prefix, "cpu"), torch.float32)
    kept = rows.segment.flatten()[rows.target_index] == 2
    assert 0 < kept.sum() < len(kept)
    assert torch.allclose(after[kept], before[kept], atol=1e-5)
    assert (after[~kept] - before[~kept]).abs().amax(1).min() > 1e-3
