"""What a hook is: any object with one or more of these methods, and the context that it is given.

A hook inherits from nothing. `attach` calls the methods that it has:

| method | when |
|---|---|
| `on_start(ctx)` | once, when it is attached |
| `on_batch(ctx, batch)` | a batch was fetched and is about to be given to the loop |
| `on_update(ctx)` | the parameters really changed: a step that a loss scaler skipped does not count |
| `on_exception(ctx, error)` | the loader failed, or the `with attach(...)` block did |
| `on_end(ctx)` | once, when the run is closed |
| `state_dict()`, `load_state_dict(state)` | the hook's part of a checkpoint: plain JSON values and tensors |
"""

from dataclasses import dataclass
from typing import Any, Protocol, runtime_checkable

from torch import nn

from forebay.formats.errors import SpecError, UnknownNameError


@dataclass(slots=True)
class Context:
    """What a hook may know of the run. One object, updated in place: read it during the call, do not keep it."""

    loader: Any
    """The loader that is watched."""
    optimizer: Any = None
    """The torch optimizer whose steps are watched, unwrapped; None when only the loader is."""
    model: nn.Module | None = None
    """The model, when `attach` was given one."""
    microbatch: int = 0
    """Batches fetched so far."""
    step: int = 0
    """Real parameter updates so far."""
    skipped: int = 0
    """Optimizer steps that a loss scaler skipped because a gradient was not finite."""
    samples: int = 0
    """Samples fetched so far, on this rank."""
    tokens: int = 0
    """Real tokens fetched so far, on this rank (padding not counted); 0 when batches hold no tokens."""
    padded_tokens: int = 0
    """Token places fetched so far, padding counted."""
    wait_s: float = 0.0
    """Seconds that the last fetch took: the loop waited this long."""
    exposed: bool = True
    """The device had no work left when the last fetch began, so it stood idle too. Always true on a CPU."""
    fetch_began_s: float = 0.0
    """`time.perf_counter()` when the last fetch began."""


@runtime_checkable
class OnStart(Protocol):
    """A hook that wants to know that the run begins."""

    def on_start(self, ctx: Context) -> None: ...


@runtime_checkable
class OnBatch(Protocol):
    """A hook that looks at batches. It must not change them: see `device_transform` for that."""

    def on_batch(self, ctx: Context, batch: Any) -> None: ...


@runtime_checkable
class OnUpdate(Protocol):
    """A hook that acts after real parameter updates."""

    def on_update(self, ctx: Context) -> None: ...


@runtime_checkable
class OnException(Protocol):
    """A hook that acts when something failed. The error is raised again afterwards."""

    def on_exception(self, ctx: Context, error: BaseException) -> None: ...


@runtime_checkable
class OnEnd(Protocol):
    """A hook that has something to finish."""

    def on_end(self, ctx: Context) -> None: ...


@runtime_checkable
class Stateful(Protocol):
    """A hook, loader or optimizer with something to save."""

    def state_dict(self) -> dict[str, Any]: ...

    def load_state_dict(self, state_dict: dict[str, Any], /) -> Any: ...


Hook = OnStart | OnBatch | OnUpdate | OnException | OnEnd
"""Any one of them is enough."""

EVENTS = ("on_start", "on_batch", "on_update", "on_exception", "on_end")


def check_hook(hook: object) -> None:
    """Refuse what no event would ever reach.

    Raises:
        UnknownNameError: it has an `on_...` method of a name that does not exist.
        SpecError: it has no event method at all, or it is a class that was not instantiated.
    """
    name = type(hook).__name__
    if isinstance(hook, type):
        raise SpecError(f"hooks holds the class {hook.__name__}, expected an instance; write {hook.__name__}(...)")
    wrong = [method for method in dir(hook) if method.startswith("on_") and method not in EVENTS]
    if wrong:
        raise UnknownNameError.of("event", wrong[0], EVENTS, where=f"hook {name}")
    if not any(callable(getattr(hook, event, None)) for event in EVENTS):
        raise SpecError(f"hook {name} has no event method; give it one or more of {', '.join(EVENTS)}")
