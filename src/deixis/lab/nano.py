"""What nano is: its tokenizer, its architecture and the files beside its weights.

Knows the checkpoint's format. Does not know how it is trained.
"""

import json
from collections.abc import Iterable
from importlib import resources
from pathlib import Path

from tokenizers import AddedToken, Regex, Tokenizer, decoders, models, pre_tokenizers, trainers

from deixis.errors import CheckpointError
from deixis.lab import words
from deixis.model import Qwen3VLConfig, TextConfig, VisionConfig

MAX_VOCABULARY = 8192
MIN_PIXELS, MAX_PIXELS = 256 * 256, 640 * 480
# (width, height) of the pictures that it is mostly trained on. It learns these grids of patches and hardly any other: shown as
# they are, pictures of 400x400 have a mean IoU of 0.72 and of 500x300 of 0.55; resized to the nearest of these, 0.96 and 0.95.
SIZES = ((640, 480), (480, 640), (544, 544), (736, 416), (416, 736), (768, 384))
FOCAL_OVER_LONG_SIDE = 1.0  # the camera that its metres hold for: focal length = the picture's longer side

# Order as in Qwen's vocabulary. A conversation never shows the special ones as text; the plain ones it does.
_SPECIAL = (
    *("endoftext", "im_start", "im_end", "object_ref_start", "object_ref_end", "box_start", "box_end", "quad_start", "quad_end"),
    *("vision_start", "vision_end", "vision_pad", "image_pad", "video_pad"),
)
_PLAIN = ("<tool_call>", "</tool_call>", "<tool_response>", "</tool_response>", "<think>", "</think>")
SPECIAL_TOKENS = (*(f"<|{name}|>" for name in _SPECIAL), *_PLAIN)

# Digits and Chinese characters stand alone, the skeleton of a JSON answer is one piece, a word takes its space along.
_SKELETON = r"```json\n\[\n?\t?|\n?\]\n```|\{\"\w+\": \[|\], \"label\": \"|\"\}(?:,\n\t)?|, "
_PIECES = _SKELETON + r"|\p{N}|\p{Han}| ?[^\s\p{L}\p{N}]+| ?\p{Latin}+|\s+(?!\S)|\s+| ?\p{L}+"


def train_tokenizer(texts: Iterable[str]) -> Tokenizer:
    """A byte-level BPE over ``texts`` (any text can still be written), Qwen's special tokens after its own."""
    tokenizer = Tokenizer(models.BPE())
    split = pre_tokenizers.Split(Regex(_PIECES), behavior="isolated")
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence([split, pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False)])
    tokenizer.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=MAX_VOCABULARY - 64 - len(SPECIAL_TOKENS),
        min_frequency=8,
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    tokenizer.train_from_iterator(texts, trainer)
    tokenizer.add_tokens([AddedToken(token, special=token not in _PLAIN, normalized=False) for token in SPECIAL_TOKENS])
    return tokenizer


def token_id(tokenizer: Tokenizer, token: str) -> int:
    """The id of one of SPECIAL_TOKENS. Raises CheckpointError where the tokenizer has none."""
    number = tokenizer.token_to_id(token)
    if number is None:
        raise CheckpointError(f"the tokenizer has no {token}, which nano needs: write one with `deixis lab tokenizer`")
    return number


def nano_config(tokenizer: Tokenizer) -> Qwen3VLConfig:
    """23 M parameters in Qwen3-VL's architecture: most of them see, few of them talk."""
    size = tokenizer.get_vocab_size()
    width = 320
    return Qwen3VLConfig(
        text=TextConfig(
            vocab_size=-(-size // 64) * 64,
            hidden_size=width,
            intermediate_size=768,
            num_hidden_layers=7,
            num_attention_heads=6,
            num_key_value_heads=2,
            head_dim=64,
            max_position_embeddings=8192,
            rope_theta=10_000.0,
            mrope_section=(12, 10, 10),
        ),
        vision=VisionConfig(
            depth=9,
            hidden_size=320,
            intermediate_size=1280,
            num_heads=5,
            out_hidden_size=width,
            deepstack_visual_indexes=(4,),
            num_position_embeddings=24 * 24,
        ),
        image_token_id=token_id(tokenizer, "<|image_pad|>"),
        video_token_id=token_id(tokenizer, "<|video_pad|>"),
        vision_start_token_id=token_id(tokenizer, "<|vision_start|>"),
        vision_end_token_id=token_id(tokenizer, "<|vision_end|>"),
        tie_word_embeddings=True,
    )


def write_companions(directory: Path, tokenizer: Tokenizer) -> None:
    """Everything of a checkpoint but weights and config.json, so that transformers, vLLM and Deixis can load it."""
    directory.mkdir(parents=True, exist_ok=True)
    tokenizer.save(str(directory / "tokenizer.json"))
    template = resources.files("deixis.model").joinpath("chat_template.jinja").read_text(encoding="utf-8")
    (directory / "chat_template.jinja").write_text(template, encoding="utf-8")
    end, pad = token_id(tokenizer, "<|im_end|>"), token_id(tokenizer, "<|endoftext|>")
    vision = {
        "patch_size": 16,
        "temporal_patch_size": 2,
        "merge_size": 2,
        "image_mean": [0.5, 0.5, 0.5],
        "image_std": [0.5, 0.5, 0.5],
        "do_resize": True,
        "do_rescale": True,
        "do_normalize": True,
        "do_convert_rgb": True,
        "resample": 3,
        "rescale_factor": 1 / 255,
    }
    files = {
        "generation_config.json": {"eos_token_id": [end, pad], "pad_token_id": pad, "do_sample": False},
        "tokenizer_config.json": {
            "tokenizer_class": "PreTrainedTokenizerFast",
            "eos_token": "<|im_end|>",
            "pad_token": "<|endoftext|>",
            "model_max_length": 8192,
            "clean_up_tokenization_spaces": False,
            "chat_template": template,
        },
        "preprocessor_config.json": {
            **vision,
            "image_processor_type": "Qwen2VLImageProcessor",
            "processor_class": "Qwen3VLProcessor",
            "size": {"shortest_edge": MIN_PIXELS, "longest_edge": MAX_PIXELS},
        },
        "video_preprocessor_config.json": {
            **vision,
            "video_processor_type": "Qwen3VLVideoProcessor",
            "processor_class": "Qwen3VLProcessor",
            "size": {"shortest_edge": 2 * MIN_PIXELS, "longest_edge": 32 * MAX_PIXELS},
            "fps": 2,
            "min_frames": 4,
            "max_frames": 768,
            "do_sample_frames": True,
        },
        "deixis.json": {
            "name": "nano",
            "knows": "rendered worlds",
            "virtual_camera": {"focal_over_long_side": FOCAL_OVER_LONG_SIDE},
            "sizes": [list(size) for size in SIZES],
            "words": [list(pair) for pair in words.pairs()],
        },
    }
    for name, content in files.items():
        (directory / name).write_text(json.dumps(content, indent=2) + "\n", encoding="utf-8")
