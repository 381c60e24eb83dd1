"""The load script itself, small: every request has an end, and what it counts is what the gateway counts."""

from __future__ import annotations

import argparse
import asyncio
import os

from bench.serve_load import load, percentile
from tests.service.serving import running


def test_a_small_load() -> None:
    asked = argparse.Namespace(clients=24, seconds=2.0, cancel=0.3, mixed=True, kill=False)
    with running(models=["fake:slow=0.02"], slots=2, queue=4) as here:
        found = asyncio.run(load(here.url, os.getpid(), asked))
        assert found["freed_ms"]["most"] > 0 and found["killed"] is None
        assert found["requests"] >= 24 and found["without_an_end"] == 0
        assert set(found["ends"]) <= {"200", "503", "gave up"} and found["ends"]["200"] >= 2 and found["ends"]["503"] >= 1
        assert found["after"]["places_taken"] == 0 and found["after"]["model_restarts"] == 0
        assert found["after"]["open_files"] <= found["before"]["open_files"] + 2  # the test's own connections are in this process
        accepted = found["after"]["accepted_total"] - found["before"]["accepted_total"]
        assert accepted >= found["ends"]["200"]


def test_percentiles() -> None:
    assert percentile([], 0.5) is None
    assert percentile([3.0, 1.0, 2.0], 0.5) == 2.0 and percentile([float(i) for i in range(100)], 0.99) == 99.0
