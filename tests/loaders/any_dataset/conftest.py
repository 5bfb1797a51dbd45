"""What tests of transport share."""

from collections.abc import Iterator

import pytest

from forebay.loaders.arena import Arena


@pytest.fixture
def arena() -> Iterator[Arena]:
    """Six slots of a megabyte."""
    made = Arena.create(6, 1 << 20)
    assert made is not None
    yield made
    made.close()
