"""Keep Python's garbage collector out of the training step, without letting memory grow."""

import gc

from forebay.formats.errors import SpecError
from forebay.loaders.hooks.hook import Context


class GcControl:
    """A hook: collect and freeze what exists at the start, then collect at chosen steps only.

    The cyclic collector scans every tracked object of the process when it feels like it; with a few large libraries
    loaded that is hundreds of thousands of objects and a pause that hits each rank at another time, so all wait for the
    slowest. Frozen objects are not scanned again. The young generations are collected every `every` updates and
    everything every `full_every`, on all ranks in the same step: without that, cycles made by the loop would pile up.
    """

    def __init__(self, *, every: int = 50, full_every: int = 5000) -> None:
        """
        Args:
            every: updates between collections of the two young generations.
            full_every: updates between full collections.

        Raises:
            SpecError: a number is not positive.
        """
        if every < 1 or full_every < 1:
            raise SpecError(
                f"GcControl has every={every}, full_every={full_every}; both count updates and must be >= 1"
            )
        self._every = every
        self._full_every = full_every
        self._was_enabled = True

    def on_start(self, ctx: Context) -> None:
        self._was_enabled = gc.isenabled()
        gc.collect()
        gc.freeze()
        gc.disable()

    def on_update(self, ctx: Context) -> None:
        if ctx.step % self._full_every == 0:
            gc.collect()
        elif ctx.step % self._every == 0:
            gc.collect(1)

    def on_end(self, ctx: Context) -> None:
        gc.unfreeze()
        if self._was_enabled:
            gc.enable()

    def on_exception(self, ctx: Context, error: BaseException) -> None:
        # The attached run may never be closed after an error of the loader; the process must not stay uncollected.
        self.on_end(ctx)
