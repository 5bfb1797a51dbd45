"""Say in words who waits for whom, and what to do about it."""

from typing import Any, Protocol, runtime_checkable

RARE = 0.05
"""Below this share of steps the loader is not worth looking at."""

ADVICE = {
    "read": "read fewer columns, keep the shards on a local disk or in the cache, or raise the reading threads",
    "decode": "raise threads or cache what is decoded",
    "transform": "raise threads, or move the transforms to `forebay prep`",
    "python": "raise num_workers: this stage runs Python code, which threads cannot share",
    "collate": "raise num_workers, or return arrays that need no stacking",
    "copy": "pin the memory and prefetch on a side stream (DevicePrefetch)",
}


@runtime_checkable
class SaysSlowestStage(Protocol):
    """A loader that measures its stages."""

    def slowest_stage(self) -> str | None:
        """Name of the stage that took the most time per batch so far; None before the first batch."""


def advice_for(loader: Any) -> str:
    """What to change in this loader when it is the bottleneck: ": stage; what to do"."""
    loader = getattr(loader, "loader", loader)  # what DevicePrefetch reads from
    stage = loader.slowest_stage() if isinstance(loader, SaysSlowestStage) else None
    if stage is not None:
        kind = next((kind for kind in ADVICE if kind in stage.lower()), None)
        return f": {stage}; {ADVICE[kind]}" if kind else f": {stage}; raise threads or cache"
    workers = getattr(loader, "num_workers", None)
    if workers == 0:
        return ": batches are made in the loop itself (num_workers=0); set num_workers to 1 or more"
    if isinstance(workers, int):
        return f": {workers} workers are too few or their work is too slow; raise num_workers or prepare more ahead"
    return "; prepare batches ahead of the loop, in another thread or process"


def verdict(bottleneck_ratio: float, waited_ratio: float, *, loader: Any) -> str:
    """One sentence.

    Args:
        bottleneck_ratio: share of steps in which the device stood idle for the loader.
        waited_ratio: share of steps in which the loop waited, idle device or not.
        loader: asked for its slowest stage, or for its number of workers.
    """
    if bottleneck_ratio >= RARE:
        return f"the loader is the bottleneck in {bottleneck_ratio:.0%} of steps{advice_for(loader)}"
    if waited_ratio >= RARE:
        return (
            f"the loop waits for the loader in {waited_ratio:.0%} of steps, but the device still has work then: "
            "nothing is lost yet"
        )
    return f"compute is the bottleneck: the loader is waited for in {waited_ratio:.0%} of steps"
