"""Hooks in the HF Trainer: attached when training begins, saved into its checkpoint folders."""

import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from forebay.formats.errors import StateError
from forebay.loaders.hooks.attachment import Run, WatchSpec, attach
from forebay.loaders.hooks.checkpoint import read_whole, write_whole
from forebay.loaders.hooks.extras import load_extra
from forebay.loaders.hooks.hook import Hook, Stateful, check_hook
from forebay.loaders.hooks.meter import Meter
from forebay.loaders.hooks.sinks import numbers

STATE_FILE = "forebay_state.pt"
"""In each `checkpoint-<step>` folder: the state of the hooks and of the loader."""


def hf_callback(
    hooks: Sequence[Hook], *, watch: WatchSpec | None = None, resume_from: str | os.PathLike[str] | None = None
) -> Any:
    """A Trainer callback that drives these hooks.

    The Trainer saves no loader state. This callback does, for a loader that has one, and puts it back when
    `ignore_data_skip=True`: training goes on at once, where the Trainer by default reads all earlier batches again.
    Precision, accumulation and clipping stay the Trainer's: see `Precision.to_hf()`.

    Args:
        hooks: as for `attach`. The figures of a `Meter` among them are added to the Trainer's logs, as `forebay_...`.
        watch: as for `attach`.
        resume_from: the checkpoint folder that the Trainer resumes from; by default the one in `output_dir` of the step
            that it resumes at.

    Returns:
        An instance for `Trainer(callbacks=[...])`.

    Raises:
        SpecError: transformers is not installed, or a hook has no event method.
    """
    for hook in hooks:
        check_hook(hook)
    base = load_extra("transformers", extra="hf", used_for="hf_callback").TrainerCallback
    cls = type("ForebayHooks", (_Callback, base), {})
    return cls(hooks, watch=watch, resume_from=resume_from)


class _Callback:
    """Attaches when training begins and closes when it ends. Mixed with the library's own base class on use."""

    def __init__(
        self, hooks: Sequence[Hook], *, watch: WatchSpec | None, resume_from: str | os.PathLike[str] | None
    ) -> None:
        self.hooks = tuple(hooks)
        self.run: Run | None = None
        self._watch = watch
        self._resume_from = resume_from

    def on_train_begin(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        loader = kwargs["train_dataloader"]
        self.run = attach(loader, kwargs["optimizer"], hooks=self.hooks, model=kwargs["model"], watch=self._watch)
        if state.global_step:
            saved = read_whole(self._resumed_file(args, state))
            self.run.load_state_dict(saved["run"])
            if args.ignore_data_skip and saved["loader"] is not None and isinstance(loader, Stateful):
                loader.load_state_dict(saved["loader"])

    def _resumed_file(self, args: Any, state: Any) -> Path:
        folder = Path(self._resume_from or Path(args.output_dir) / f"checkpoint-{state.global_step}")
        if not (folder / STATE_FILE).is_file():
            raise StateError(
                f"the Trainer resumes at step {state.global_step}, but {folder} has no {STATE_FILE}; give "
                "hf_callback(resume_from=...) the folder that it resumes from"
            )
        return folder / STATE_FILE

    def on_save(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        if self.run is None or not state.is_world_process_zero:
            return
        loader = kwargs["train_dataloader"]
        saved = {"run": self.run.state_dict(), "loader": None}
        if isinstance(loader, Stateful):
            saved["loader"] = loader.state_dict()
        write_whole(Path(args.output_dir) / f"checkpoint-{state.global_step}" / STATE_FILE, saved)

    def on_log(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        logs = kwargs.get("logs")
        if self.run is None or logs is None:
            return
        for meter in self.hooks:
            if isinstance(meter, Meter):
                figures = {f"forebay_{name}": v for name, v in numbers(meter.record(self.run.ctx)).items()}
                # The history has a copy already; reporters that ran before this callback do not see them: see the docs.
                logs.update(figures)
                state.log_history[-1].update(figures)

    def on_train_end(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        if self.run is not None:
            self.run.close()
