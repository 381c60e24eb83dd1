"""Records what transformers' own video processor and processor make of tiny.VIDEOS, for test_video_record.py.

Needs what the project's test machines lack: torchvision. Run from the repository root, with tokenizers, numpy, transformers
5.17.0, torch and torchvision installed:

    PYTHONPATH=.:src python tests/model/record_video_processor.py

Writes tests/model/data/video_processor.npz: per video the patches as uint8 (they are 127.5 * (value + 1), rounded), the grid and
the token ids of a conversation that holds it.
"""

from __future__ import annotations

import sys
import tempfile
from pathlib import Path

import numpy as np
import transformers
from transformers import AutoTokenizer, Qwen2VLImageProcessor, Qwen3VLProcessor, Qwen3VLVideoProcessor
from transformers.video_utils import VideoMetadata

from tests.model import tiny

QUESTION = "When does the red cup move?"
FPS = 4.0  # the recorded times are whole multiples of a frame at this rate
TARGET = Path(__file__).parent / "data" / "video_processor.npz"


def main() -> None:
    template = (Path(__file__).parents[2] / "src/deixis/model/chat_template.jinja").read_text(encoding="utf-8")
    recorded: dict[str, np.ndarray] = {"transformers": np.array(transformers.__version__)}
    with tempfile.TemporaryDirectory() as directory:
        tiny.write_processor(Path(directory), tiny.config_dict(), template)
        processor = Qwen3VLProcessor(
            image_processor=Qwen2VLImageProcessor.from_pretrained(directory),
            tokenizer=AutoTokenizer.from_pretrained(directory),
            video_processor=Qwen3VLVideoProcessor.from_pretrained(directory),
            chat_template=template,
        )
        for name, (frames, times) in tiny.VIDEOS.items():
            indices = [round(t * FPS) for t in times]
            text = processor.apply_chat_template(
                [{"role": "user", "content": [{"type": "video"}, {"type": "text", "text": QUESTION}]}],
                add_generation_prompt=True,
                tokenize=False,
            )
            out = processor(
                text=[text],
                videos=[frames],
                video_metadata=[VideoMetadata(total_num_frames=indices[-1] + 1, fps=FPS, frames_indices=indices)],
                do_sample_frames=False,
                cap_pixels_per_frame=False,
                return_tensors="np",
            )
            patches = np.asarray(out["pixel_values_videos"])
            recorded[f"{name}.patches"] = np.rint((patches + 1) * 127.5).astype(np.uint8)
            recorded[f"{name}.grid"] = np.asarray(out["video_grid_thw"])[0]
            recorded[f"{name}.ids"] = np.asarray(out["input_ids"])[0]
            print(name, recorded[f"{name}.grid"], recorded[f"{name}.patches"].shape, recorded[f"{name}.ids"].shape)
    TARGET.parent.mkdir(exist_ok=True)
    np.savez_compressed(TARGET, **recorded)
    print(f"{TARGET}: {TARGET.stat().st_size / 1024:.0f} KB")


if __name__ == "__main__":
    sys.exit(main())
