"""What tests of transforms share."""

import numpy as np
import pytest


@pytest.fixture
def rng() -> np.random.Generator:
    """Draws of a test's own: the same whichever tests ran before it."""
    return np.random.default_rng(0)
