"""One scripted gateway for all tests that need no other."""

from collections.abc import Iterator

import pytest

from tests.service.serving import Running, running


@pytest.fixture(scope="session")
def served() -> Iterator[Running]:
    with running() as here:
        yield here
