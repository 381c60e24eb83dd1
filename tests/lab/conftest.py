"""Drawing without a screen, wherever these tests run."""

import os

os.environ.setdefault("MUJOCO_GL", "egl")
