"""Drive hooks from the two events that every training loop has: the loader's `__next__` and the optimizer's step.

Nothing has to be written into the loop, so the same call serves a plain loop, Lightning, accelerate and the HF Trainer.
"""

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from types import TracebackType
from typing import Any, Self

import torch
from torch import nn

from forebay.formats.errors import StateError
from forebay.loaders.hooks.counts import BatchCount, count_batch
from forebay.loaders.hooks.hook import Context, Hook, Stateful, check_hook
from forebay.loaders.hooks.updates import on_step, unwrap_optimizer
from forebay.loaders.hooks.watched_loader import watch_loader
from forebay.loaders.stream import StreamBackend, streams_for


@dataclass(frozen=True, slots=True, kw_only=True)
class WatchSpec:
    """How the loop is observed."""

    count: Callable[[Any], BatchCount] = count_batch
    """Sizes of a batch. Replace it where batches are of a kind of your own."""
    streams: StreamBackend | None = None
    """Asked whether the device is idle when a fetch begins. None: the current CUDA device where there is one."""
    scaler: torch.amp.GradScaler | None = None
    """The loss scaler, where an optimizer that is not fused is used with one in a plain loop: its skipped steps cause
    no event, so they are seen by the scale going down."""


class Run:
    """A loader and an optimizer under observation. Made by `attach`; a context manager."""

    def __init__(self, ctx: Context, *, hooks: Sequence[Hook], watch: WatchSpec) -> None:
        self.ctx = ctx
        self.hooks = tuple(hooks)
        self._count = watch.count
        self._streams = watch.streams or streams_for("cuda" if torch.cuda.is_available() else "cpu")
        self._scaler = watch.scaler if watch.scaler is not None and watch.scaler.is_enabled() else None
        self._scale = self._scaler.get_scale() if self._scaler else 0.0
        self._on_batch: tuple[Callable[[Context, Any], None], ...] = self._methods("on_batch")
        self._on_update: tuple[Callable[[Context], None], ...] = self._methods("on_update")
        self._removers: list[Callable[[], None]] = []
        self._failed: BaseException | None = None
        self._hidden_skip = False

    def _methods(self, event: str) -> tuple[Callable[..., None], ...]:
        return tuple(getattr(hook, event) for hook in self.hooks if callable(getattr(hook, event, None)))

    def begin(self) -> Self:
        """Start to listen, and tell the hooks. Called by `attach`. When a hook refuses, nothing stays attached."""
        self._removers.append(watch_loader(self.ctx.loader, self))
        if self.ctx.optimizer is not None:
            self._removers.append(on_step(self.ctx.optimizer, updated=self._updated, skipped=self._fused_skip))
        started = False
        try:
            for start in self._methods("on_start"):
                start(self.ctx)
            started = True
        finally:
            if not started:
                self._stop_listening()
        return self

    def _stop_listening(self) -> None:
        while self._removers:
            self._removers.pop()()

    def close(self) -> None:
        """Stop listening and tell the hooks. Safe to call twice."""
        if not self._removers:
            return
        self._look_at_scale()
        self._stop_listening()
        for end in self._methods("on_end"):
            end(self.ctx)

    def fetch(self, pull: Callable[[], Any]) -> Any:
        ctx = self.ctx
        if self._scaler is not None:
            self._look_at_scale()
        ctx.exposed = self._streams.idle()
        ctx.fetch_began_s = began = time.perf_counter()
        try:
            batch = pull()
        except StopIteration:
            raise
        except Exception as error:
            self._tell_failure(error)
            raise
        ctx.wait_s = time.perf_counter() - began
        samples, tokens, padded = self._count(batch)
        ctx.microbatch += 1
        ctx.samples += samples
        ctx.tokens += tokens
        ctx.padded_tokens += padded
        for on_batch in self._on_batch:
            on_batch(ctx, batch)
        return batch

    def _updated(self) -> None:
        self.ctx.step += 1
        for on_update in self._on_update:
            on_update(self.ctx)

    def _fused_skip(self) -> None:
        self._hidden_skip = True
        self.ctx.skipped += 1

    def _look_at_scale(self) -> None:
        if self._scaler is None:
            return
        scale = self._scaler.get_scale()
        if scale < self._scale and not self._hidden_skip:
            self.ctx.skipped += 1
        self._scale, self._hidden_skip = scale, False

    def _tell_failure(self, error: BaseException) -> None:
        if error is not self._failed:
            self._failed = error
            for on_exception in self._methods("on_exception"):
                on_exception(self.ctx, error)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if error is not None:
            self._tell_failure(error)
        self.close()

    def state_dict(self) -> dict[str, Any]:
        """Counters and the state of every hook that has one, in the order of the hooks. Equal on all ranks apart from
        `samples` and `tokens`, which are this rank's own."""
        ctx = self.ctx
        counters = {name: getattr(ctx, name) for name in _COUNTERS}
        saved = [[type(h).__name__, h.state_dict() if isinstance(h, Stateful) else None] for h in self.hooks]
        return {"version": 1, "counters": counters, "hooks": saved}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Put the counters and the hooks back.

        Raises:
            StateError: the state was saved by other hooks, or by a later version.
        """
        if state.get("version") != 1:
            raise StateError(f"hooks' state has version {state.get('version')!r}, this forebay reads version 1")
        found, wanted = [name for name, _ in state["hooks"]], [type(hook).__name__ for hook in self.hooks]
        if found != wanted:
            raise StateError(
                f"the state is of hooks {found}, attached are {wanted}; attach the same hooks in the same order"
            )
        for name in _COUNTERS:
            setattr(self.ctx, name, state["counters"][name])
        for hook, (_, part) in zip(self.hooks, state["hooks"], strict=True):
            if part is not None and isinstance(hook, Stateful):
                hook.load_state_dict(part)


_COUNTERS = ("microbatch", "step", "skipped", "samples", "tokens", "padded_tokens")


def attach(
    loader: Any,
    optimizer: Any = None,
    *,
    hooks: Sequence[Hook] = (),
    model: nn.Module | None = None,
    watch: WatchSpec | None = None,
) -> Run:
    """Attach hooks to a loader and an optimizer.

    Args:
        loader: any torch DataLoader, or another iterable object of a Python class. Under accelerate, the one that
            `prepare` returned: it throws away what it was given. The object itself is watched, so the trainer may have
            it already.
        optimizer: a torch optimizer, or the wrapper that accelerate or Lightning made of one. None: no updates are
            seen. With several, the one that steps last.
        hooks: called in this order.
        model: for hooks that need one (EMA, pruning).
        watch: how to count batches, and which device and scaler to ask.

    Returns:
        The run. `close()` it, or use it as a context manager: then `on_exception` also sees errors of your loop.

    Raises:
        SpecError: the loader cannot be watched, the optimizer is none, or a hook has no event method.
    """
    for hook in hooks:
        check_hook(hook)
    inner = unwrap_optimizer(optimizer) if optimizer is not None else None
    ctx = Context(loader=loader, optimizer=inner, model=model)
    return Run(ctx, hooks=hooks, watch=watch or WatchSpec()).begin()
