"""Qwen3-VL in plain PyTorch: network, weights, tokenizer, chat template, patching and a reference generation loop.

Knows one checkpoint at a time, and conversations as messages. Does not know serving, prompts or what is asked.
"""

from deixis.model.cache import KVCache, LayerCache
from deixis.model.chat import ChatTemplate, Message, builtin_template, check_messages, parts_of, split_thinking
from deixis.model.checkpoint import Checkpoint, open_checkpoint
from deixis.model.config import Qwen3VLConfig, TextConfig, VisionConfig, YarnConfig
from deixis.model.frames import FrameSampling, pixels_per_frame
from deixis.model.generate import Generation, Prefix, distribution, generate, prefill
from deixis.model.inputs import ModelInput, VisualFeatures
from deixis.model.patches import patchify_batch, resize_bicubic, smart_resize, smart_resize_video, to_patches
from deixis.model.positions import mrope_positions
from deixis.model.processor import PixelLimits, Processor, pixels_of
from deixis.model.qwen3vl import Qwen3VL
from deixis.model.text import Attend, TextModel, causal_attention
from deixis.model.tokenizer import Tokenizer
from deixis.model.vision import Grid, VisionModel
from deixis.model.weights import empty_model, load_weights, save_checkpoint

__all__ = [
    "Attend",
    "ChatTemplate",
    "Checkpoint",
    "FrameSampling",
    "Generation",
    "Grid",
    "KVCache",
    "LayerCache",
    "Message",
    "ModelInput",
    "PixelLimits",
    "Prefix",
    "Processor",
    "Qwen3VL",
    "Qwen3VLConfig",
    "TextConfig",
    "TextModel",
    "Tokenizer",
    "VisionConfig",
    "VisionModel",
    "VisualFeatures",
    "YarnConfig",
    "builtin_template",
    "causal_attention",
    "check_messages",
    "distribution",
    "empty_model",
    "generate",
    "load_weights",
    "mrope_positions",
    "open_checkpoint",
    "parts_of",
    "patchify_batch",
    "pixels_of",
    "pixels_per_frame",
    "prefill",
    "resize_bicubic",
    "save_checkpoint",
    "smart_resize",
    "smart_resize_video",
    "split_thinking",
    "to_patches",
]
