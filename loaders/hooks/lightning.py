"""Hooks in a Lightning Trainer: attached when training starts, saved with its checkpoints, logged by its loggers."""

import sys
from collections.abc import Sequence
from typing import Any

from forebay.formats.errors import LoaderError, SpecError
from forebay.loaders.hooks.attachment import Run, WatchSpec, attach
from forebay.loaders.hooks.extras import load_extra
from forebay.loaders.hooks.hook import Hook, check_hook
from forebay.loaders.hooks.meter import Meter
from forebay.loaders.hooks.sinks import numbers
from forebay.loaders.hooks.watched_loader import watch_iterator


def lightning_callback(hooks: Sequence[Hook], *, watch: WatchSpec | None = None, log_every: int = 50) -> Any:
    """A Lightning callback that drives these hooks.

    Lightning saves the state of a loader that has one by itself (rank 0's, which is the same on all ranks for those of
    forebay). Precision, accumulation and clipping stay the Trainer's: see `Precision.to_lightning()`.

    Args:
        hooks: as for `attach`. A `Meter` among them is also logged with `pl_module.log_dict`, under `forebay/`.
        watch: as for `attach`.
        log_every: batches from one logged record to the next.

    Returns:
        An instance for `Trainer(callbacks=[...])`, of a subclass of the Callback of `lightning` or `pytorch_lightning`,
        whichever is imported.

    Raises:
        SpecError: Lightning is not installed, or a hook has no event method.
    """
    for hook in hooks:
        check_hook(hook)
    old = "pytorch_lightning" in sys.modules and "lightning.pytorch" not in sys.modules
    package = "pytorch_lightning" if old else "lightning.pytorch"
    base = load_extra(package, extra="lightning", used_for="lightning_callback").Callback
    cls = type("ForebayHooks", (_Callback, base), {})
    return cls(hooks, watch=watch, log_every=log_every)


class _Callback:
    """Attaches at the start of training and closes at its end. Mixed with Lightning's own base class on use."""

    def __init__(self, hooks: Sequence[Hook], *, watch: WatchSpec | None, log_every: int) -> None:
        self.hooks = tuple(hooks)
        self.run: Run | None = None
        self._watch = watch
        self._log_every = log_every
        self._saved: dict[str, Any] | None = None

    def on_train_start(self, trainer: Any, pl_module: Any) -> None:
        loader, optimizers = trainer.train_dataloader, trainer.optimizers
        if isinstance(loader, dict | list | tuple):
            raise SpecError(
                f"the Trainer has {len(loader)} train loaders in a {type(loader).__name__}; call attach(...) on "
                "the one to watch instead"
            )
        watch = self._watch or WatchSpec(scaler=getattr(trainer.precision_plugin, "scaler", None))
        optimizer = optimizers[-1] if optimizers else None
        self.run = attach(loader, optimizer, hooks=self.hooks, model=pl_module, watch=watch)
        _watch_first_epoch(trainer, loader)
        if self._saved is not None:
            self.run.load_state_dict(self._saved)
            self._saved = None

    def on_train_batch_end(self, trainer: Any, pl_module: Any, outputs: Any, batch: Any, batch_idx: int) -> None:
        if self.run is None or (batch_idx + 1) % self._log_every:
            return
        for meter in self.hooks:
            if isinstance(meter, Meter):
                figures = numbers(meter.record(self.run.ctx))
                pl_module.log_dict({f"forebay/{name}": value for name, value in figures.items()}, batch_size=1)

    def on_exception(self, trainer: Any, pl_module: Any, exception: BaseException) -> None:
        if self.run is not None:
            self.run.__exit__(type(exception), exception, None)

    def teardown(self, trainer: Any, pl_module: Any, stage: str) -> None:
        if self.run is not None:
            self.run.close()

    def state_dict(self) -> dict[str, Any]:
        return {} if self.run is None else self.run.state_dict()

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        self._saved = state_dict or None


def _watch_first_epoch(trainer: Any, loader: Any) -> None:
    """Lightning makes the first epoch's iterator before a callback can know the loader: put a watched one in its place.

    Raises:
        LoaderError: this Lightning keeps it elsewhere.
    """
    iterators = getattr(getattr(trainer.fit_loop._combined_loader, "_iterator", None), "iterators", None)
    if not isinstance(iterators, list) or len(iterators) != 1:
        raise LoaderError(
            "lightning_callback does not find the iterator of the first epoch in this version of Lightning; call "
            "attach(loader, hooks=[...]) before Trainer.fit instead"
        )
    iterators[0] = watch_iterator(loader, iterators[0])
