"""What nano is made of: a small network, a small tokenizer with single digits, and every file that a reader wants."""

import json
from pathlib import Path

import pytest
import torch
from tokenizers import Tokenizer, models

from deixis.backends.catalog import nano_directory
from deixis.backends.local import read_card
from deixis.errors import CheckpointError
from deixis.lab import words
from deixis.lab.nano import (
    MAX_PIXELS,
    MAX_VOCABULARY,
    MIN_PIXELS,
    SPECIAL_TOKENS,
    nano_config,
    token_id,
    train_tokenizer,
    write_companions,
)
from deixis.lab.questions.question import box_3d_row, box_row, fenced, point_row
from deixis.lab.train import LARGE, SMALL
from deixis.model import Processor, Qwen3VL, Qwen3VLConfig, smart_resize
from deixis.spatial.language.prompts import LANGUAGES
from deixis.spatial.language.translation import translated
from tests.lab.asked_pictures import asked_pictures
from tests.lab.small_nano import processor, tokenizer

NANO = nano_directory()
TEXTS = [
    "Is the red cup left of the mouse?\nAnswer with a word, a number or a short phrase.",
    "在图中找出所有的红色杯子,以JSON格式输出bbox坐标。",
    "naïve café, Ωmega 🙂 \t tabs,  two spaces and a\nline",
    fenced([box_row((12, 345, 678, 1000), "red cup"), box_row((0, 1, 2, 3), "红色杯子")]),
    fenced([box_3d_row([0.1, -0.25, 1.5, 0.2, 0.2, 0.3, 0.4, -0.05, 0.0], "blue book")]),
    fenced([point_row((500, 7), "pen")]),
    fenced([]),
]


@pytest.fixture(scope="module")
def fresh() -> Tokenizer:
    """Trained here, on a few questions."""
    questions = [q for _, asked in asked_pictures()[::15] for q in asked]
    return train_tokenizer(text for q in questions for text in (q.prompt, q.answer))


@pytest.fixture(params=["shipped", "fresh"])
def either(request: pytest.FixtureRequest) -> Tokenizer:
    return tokenizer() if request.param == "shipped" else request.getfixturevalue("fresh")


def test_the_network_fits_48_megabytes() -> None:
    with torch.device("meta"):
        model = Qwen3VL(nano_config(tokenizer()))
    parameters = sum(p.numel() for p in model.parameters())
    assert parameters > 20_000_000
    assert 2 * parameters <= 47_500_000  # bfloat16; the rest of 48 MB is for tokenizer, template and configs


def test_the_shipped_config_is_this_one() -> None:
    shipped = Qwen3VLConfig.from_dict(json.loads((NANO / "config.json").read_text(encoding="utf-8")))
    assert shipped == nano_config(tokenizer())


# --- tokenizer -----------------------------------------------------------------------------------------------------


def test_the_vocabulary_is_small(either: Tokenizer) -> None:
    assert either.get_vocab_size() <= MAX_VOCABULARY == 8192
    assert nano_config(either).text.vocab_size % 64 == 0
    assert 0 <= nano_config(either).text.vocab_size - either.get_vocab_size() < 64


def test_special_tokens_are_single_and_stand_at_the_end(either: Tokenizer) -> None:
    ids = [token_id(either, token) for token in SPECIAL_TOKENS]
    assert ids == list(range(either.get_vocab_size() - len(SPECIAL_TOKENS), either.get_vocab_size()))
    for token, number in zip(SPECIAL_TOKENS, ids, strict=True):
        assert either.encode(f"a{token}b", add_special_tokens=False).ids.count(number) == 1
        assert either.decode([number]) == ("" if token.startswith("<|") else token)  # thinking and tools are text


@pytest.mark.parametrize("text", TEXTS)
def test_any_text_can_be_written(either: Tokenizer, text: str) -> None:
    assert either.decode(either.encode(text, add_special_tokens=False).ids, skip_special_tokens=False) == text


def test_digits_stand_alone(either: Tokenizer) -> None:
    digits = [either.token_to_id(str(digit)) for digit in range(10)]
    assert None not in digits and len(set(digits)) == 10
    assert either.encode("0123456789").ids == digits
    for text in [*TEXTS, "1000 12.5% x2y3 007"]:
        pieces = [either.decode([number]) for number in either.encode(text, add_special_tokens=False).ids]
        written = [piece.strip() for piece in pieces if any(c.isdigit() for c in piece) and "_" not in piece]
        assert all(len(piece) == 1 for piece in written), written  # "bbox_2d" is a word


def test_answers_take_few_tokens() -> None:
    box = tokenizer().encode(TEXTS[3], add_special_tokens=False)
    digits = sum(c.isdigit() for c in TEXTS[3]) - 2  # without those of bbox_2d
    assert len(box.ids) <= digits + 2 * 3 + 2 * 2 + 4 + 6  # commas, skeleton, fence, labels


@pytest.mark.parametrize("words", ["Yes", "No", "是", "否", "没有", "absent"])
def test_short_answers_are_short(words: str) -> None:
    assert len(tokenizer().encode(words, add_special_tokens=False).ids) <= 2


def test_a_tokenizer_without_our_tokens_is_refused() -> None:
    empty = Tokenizer(models.BPE())
    with pytest.raises(CheckpointError, match=r"no <\|image_pad\|>, which nano needs"):
        nano_config(empty)


# --- the files beside the weights ----------------------------------------------------------------------------------


def test_companions_are_those_of_the_shipped_checkpoint(tmp_path: Path) -> None:
    write_companions(tmp_path / "new" / "nano", tokenizer())
    for path in (tmp_path / "new" / "nano").iterdir():
        assert path.read_text(encoding="utf-8") == (NANO / path.name).read_text(encoding="utf-8"), path.name
    written = {path.name for path in (tmp_path / "new" / "nano").iterdir()}
    apart = {"config.json", "model.safetensors.index.json", "training.json", "calibration.json", "grounding.json"}
    assert written == {path.name for path in NANO.glob("*.json")} - apart | {"chat_template.jinja"}


def test_companions_make_a_processor(tmp_path: Path) -> None:
    read: Processor = processor(tmp_path)
    assert (read.image_limits.min_pixels, read.image_limits.max_pixels) == (MIN_PIXELS, MAX_PIXELS)
    assert read.tokenizer.size == tokenizer().get_vocab_size()


@pytest.mark.parametrize("size", sorted({*SMALL, *LARGE}))
def test_training_sizes_are_read_as_they_are(size: tuple[int, int]) -> None:
    width, height = size
    assert smart_resize(height, width, 32, MIN_PIXELS, MAX_PIXELS) == (height, width)
    assert min(size) >= 256 and max(size) <= 768 and max(size) <= 2 * min(size)


def test_every_label_of_the_worlds_has_one_translation() -> None:
    card = read_card(NANO)
    for color in words.COLORS:
        for category in words.CATEGORIES:
            en, zh = (words.label(color, category, language) for language in LANGUAGES)
            assert translated(en, "en", card.words) == zh
            there = translated(zh, "zh", card.words)
            assert there is not None and there.lower() == en
