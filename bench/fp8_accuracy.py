"""The accuracy of nano with weights rounded to float8 beside float32, on the same pictures, never trained on.

PYTHONPATH=src:. MUJOCO_GL=egl python bench/fp8_accuracy.py [PICTURES] [SEED]

Weights alone, as a single stream's decoding step multiplies by them; a GPU rounds the activations of many rows as well.
"""

import sys

from bench.int8_accuracy import main
from deixis.engine import LocalEngine
from deixis.engine.fp8 import round_weights


def with_fp8(engine: LocalEngine) -> None:
    """Let it serve by rounded weights."""
    round_weights(engine.checkpoint.model)


if __name__ == "__main__":
    main(int(sys.argv[1]) if len(sys.argv) > 1 else 16, int(sys.argv[2]) if len(sys.argv) > 2 else 870001, "fp8", with_fp8)
