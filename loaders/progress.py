"""Progress: which batch of which epoch a loader over a forebay data set gave last, and where its next pass begins."""

from collections.abc import Callable
from dataclasses import dataclass


@dataclass(slots=True)
class Progress:
    """Epoch and position of the last batch given. An object of its own: torch's loader runs code at each assignment to its
    own attributes."""

    epoch: int = 0
    position: int = 0
    """Rows of the epoch that all ranks together have been given."""
    _next: bool = True
    """Whether the next pass begins here. Else it is the epoch after: a pass that was left in the middle is not gone on
    with, as in torch, or a validation of 10 batches would see others each time. An epoch without an end is."""

    def load(self, epoch: int, position: int) -> None:
        """The next pass goes on here."""
        self.epoch, self.position, self._next = epoch, position, True

    def set_epoch(self, epoch: int) -> None:
        """The next pass is this epoch, from its start; or from where a state of this epoch was loaded."""
        if not (self._next and epoch == self.epoch):
            self.load(epoch, 0)

    def begin(self, is_over: Callable[[int, int], bool], *, endless: bool) -> None:
        """A pass begins.

        Epochs roll over here and not behind the last batch: a framework that counts to `len()` never asks for the end. And
        behind a state of an epoch's end, Lightning first takes one batch for the epoch that has ended, then begins another
        pass: that one goes on.
        """
        ended = self._next and self.position > 0 and is_over(self.epoch, self.position)
        if ended or not (self._next or endless):
            self.epoch, self.position = self.epoch + 1, 0
        self._next = ended
