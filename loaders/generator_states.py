"""Python's, NumPy's and torch's global generators: their states together, as bytes."""

import pickle
import random

import numpy as np
import torch


def generator_states() -> bytes:
    """The states of all three."""
    return pickle.dumps((random.getstate(), np.random.get_state(), torch.get_rng_state().numpy().tobytes()))


def set_generators(states: bytes) -> None:
    """Put all three back."""
    pythons, numpys, torchs = pickle.loads(states)
    random.setstate(pythons)
    np.random.set_state(numpys)
    torch.set_rng_state(torch.frombuffer(bytearray(torchs), dtype=torch.uint8))
