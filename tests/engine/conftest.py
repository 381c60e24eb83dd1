"""One small checkpoint for each file of tests, and what the reference loop says with it."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
import torch

from deixis.engine.network import Network
from deixis.model import Checkpoint, open_checkpoint
from tests.engine.asked import Reference
from tests.engine.checkpoints import write_checkpoint


@pytest.fixture(scope="module")
def checkpoint(tmp_path_factory: pytest.TempPathFactory) -> Checkpoint:
    return open_checkpoint(write_checkpoint(tmp_path_factory.mktemp("tiny")))


@pytest.fixture(scope="module")
def network(checkpoint: Checkpoint) -> Network:
    return Network(checkpoint.model)


@pytest.fixture(scope="module")
def reference(checkpoint: Checkpoint) -> Reference:
    return Reference(checkpoint)


@pytest.fixture
def _one_thread() -> Iterator[None]:
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)
