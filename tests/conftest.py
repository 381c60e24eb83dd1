"""What every test shares: replayable property tests, and the recorded answers of the real model where they are at hand."""

import os
import sys
from pathlib import Path

import pytest
from hypothesis import settings

# Worlds are drawn without a screen. MuJoCo reads this once, when it is first imported.
if sys.platform == "linux":
    os.environ.setdefault("MUJOCO_GL", "egl")

# The same examples on every machine and in every run, and no database folder in the tree.
settings.register_profile("replayable", derandomize=True, database=None, deadline=None, max_examples=100)
settings.load_profile("replayable")


@pytest.fixture(scope="session")
def recorded() -> Path:
    """Answers that a real Qwen3-VL gave on photographs, kept beside the repository; the test is skipped where they are not."""
    folder = Path(__file__).parents[2] / "shared" / "recorded"
    if not (folder / "answers.json").is_file():
        pytest.skip("recorded answers are not beside this checkout (../shared/recorded)")
    return folder
