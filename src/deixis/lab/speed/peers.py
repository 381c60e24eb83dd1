"""Peers in processes of their own: started in the same sitting, heard line by line, ended when their time is up.

Knows processes. Does not know what a peer does.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from deixis.errors import OptionError
from deixis.lab.speed.asking import Asking
from deixis.lab.speed.shapes import write_files

PEERS = ("transformers", "vllm", "none")
TIMEOUT_S = 900.0
MODULE = "deixis.lab.speed.peer_{peer}"


def peer_rows(
    peer: str,
    shape: str,
    asking: Asking,
    device: str,
    dtype: str,
    *,
    path: str = "",
    calls: Path | None = None,
    timeout_s: float = TIMEOUT_S,
) -> Iterator[tuple[str, Any]]:
    """(row, value) as the peer measures them; ("version", text) first and ("failed", why) where it ended badly.

    `path` is put before PYTHONPATH: where the peer is installed. `calls` is a folder of asked.py's, for transformers.
    """
    if peer not in PEERS:
        raise OptionError(f"peer is {peer!r}, expected one of {', '.join(PEERS)}")
    if peer == "none":
        return
    with tempfile.TemporaryDirectory() as kept:
        folder = write_files(shape, Path(kept) / shape)
        plan = Path(kept) / "asking.json"
        plan.write_text(json.dumps(asking.to_json()), encoding="utf-8")
        rest = [] if peer == "vllm" else [device, dtype, *([] if calls is None else [str(calls)])]
        command = [sys.executable, "-m", MODULE.format(peer=peer), str(folder), str(plan), *rest]
        paths = [path, str(Path(__file__).parents[3]), os.environ.get("PYTHONPATH", "")]
        environment = os.environ | {"PYTHONPATH": os.pathsep.join(part for part in paths if part)}
        with (
            (Path(kept) / "stderr").open("w+", encoding="utf-8") as errors,
            subprocess.Popen(command, stdout=subprocess.PIPE, stderr=errors, text=True, env=environment) as process,
        ):
            assert process.stdout is not None
            timer = threading.Timer(timeout_s, process.kill)
            timer.start()
            try:
                for line in process.stdout:
                    if line.startswith('{"row"'):  # a peer says other things too
                        told = json.loads(line)
                        yield str(told["row"]), told["value"]
                process.wait()
            finally:
                timer.cancel()
                process.kill()
            if process.returncode:
                errors.seek(0)
                yield "failed", f"{peer} ended with {process.returncode}: {errors.read()[-2000:]}"
