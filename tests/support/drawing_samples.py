"""Map-style data sets whose samples draw from the global generators, as augmentations do."""

import os
import random

import numpy as np
import torch


class DrawingSamples:
    """Each sample: its index, and a number from each of the three generators."""

    def __init__(self, count):
        self.count = count
        self.asked = []

    def __len__(self):
        return self.count

    def __getitem__(self, index):
        self.asked.append(index)
        return index, random.random(), np.random.rand(), torch.rand(())


class DrawingTogether(DrawingSamples):
    """The same, asked for many at once."""

    def __getitems__(self, indices):
        return [self[index] for index in indices]


def drawing_collate(samples):
    """Draws once more, as collators that mask tokens do."""
    return torch.tensor([index for index, *_ in samples]), random.random(), np.random.rand(), torch.rand(())


class FatalSamples:
    """Kills its worker at the indices of `fatal`; the first time only, if there is a `marker` directory to note that in."""

    def __init__(self, count, fatal=(), marker=None, how="kill"):
        self.count, self.fatal, self.marker, self.how = count, set(fatal), marker, how

    def __len__(self):
        return self.count

    def __getitem__(self, index):
        if index in self.fatal and self._first_time(index):
            die_or_hang(self.how)
        return np.full(20_000, index, np.float32), index

    def _first_time(self, index):
        if self.marker is None:
            return True
        try:
            os.close(os.open(os.path.join(self.marker, str(index)), os.O_CREAT | os.O_EXCL))
        except FileExistsError:
            return False
        return True


def die_or_hang(how):
    """What native code does to a worker: it is killed, ends, or never comes back."""
    import signal
    import time

    if how == "kill":
        os.kill(os.getpid(), signal.SIGKILL)
    if how == "exit":
        os._exit(3)
    while True:
        time.sleep(0.05)
