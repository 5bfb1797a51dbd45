"""The collector runs when it is told to, and the process is left as it was."""

import gc

import pytest

from forebay.formats.errors import SpecError
from forebay.loaders.hooks.gc_control import GcControl
from forebay.loaders.hooks.hook import Context


class Cycle:
    def __init__(self) -> None:
        self.me = self


def generations(hook: GcControl, ctx: Context, updates: int) -> list[int]:
    """Generations collected while the hook sees so many updates."""
    seen: list[int] = []

    def watch(phase: str, info: dict[str, int]) -> None:
        if phase == "start":
            seen.append(info["generation"])

    gc.callbacks.append(watch)
    try:
        for ctx.step in range(1, updates + 1):
            hook.on_update(ctx)
            for _ in range(2000):
                Cycle()  # would start collections if the collector were on
    finally:
        gc.callbacks.remove(watch)
    return seen


def test_collections_happen_at_the_chosen_updates_only() -> None:
    hook, ctx = GcControl(every=2, full_every=6), Context(loader=None)
    hook.on_start(ctx)
    try:
        assert not gc.isenabled() and gc.get_freeze_count() > 0
        assert generations(hook, ctx, 7) == [1, 1, 2]
    finally:
        hook.on_end(ctx)
    assert gc.isenabled() and gc.get_freeze_count() == 0


def test_an_error_gives_the_collector_back() -> None:
    hook, ctx = GcControl(), Context(loader=None)
    hook.on_start(ctx)
    hook.on_exception(ctx, RuntimeError())
    assert gc.isenabled() and gc.get_freeze_count() == 0


def test_a_collector_that_was_off_stays_off() -> None:
    gc.disable()
    try:
        hook, ctx = GcControl(), Context(loader=None)
        hook.on_start(ctx)
        hook.on_end(ctx)
        assert not gc.isenabled()
    finally:
        gc.enable()


def test_wrong_settings_are_refused() -> None:
    with pytest.raises(SpecError, match="every=0, full_every=5"):
        GcControl(every=0, full_every=5)
