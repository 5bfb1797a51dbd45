"""Measure who waits for whom: data wait against compute, rates, percentiles, and a verdict in words."""

import math
from collections.abc import Sequence
from typing import Any

from forebay.formats.errors import SpecError
from forebay.loaders.hooks.flops import ModelFlops
from forebay.loaders.hooks.hook import Context
from forebay.loaders.hooks.sinks import Record, Sink
from forebay.loaders.hooks.verdict import verdict

WAIT_SHARE = 0.1
"""A step counts as waiting when more than this share of it went into the fetch."""


class Meter:
    """A hook that times every step of the loop.

    A step of the loop is one fetch and what follows it until the next fetch begins, so with gradient accumulation it is
    a microbatch. Figures are over the newest `window` steps. A wait is *exposed* when the device had no work left as it
    began, so the device stood idle for all of it; on CUDA the stream is asked, on a CPU every wait is exposed. A wait
    that begins while the device works may still end in an idle device: the exposed figure is a lower bound.

    Time between two epochs (an evaluation, say) counts as compute of the last step before it.
    """

    def __init__(
        self, *, sinks: Sequence[Sink] = (), every: int = 100, window: int = 1000, flops: ModelFlops | None = None
    ) -> None:
        """
        Args:
            sinks: where records go.
            every: microbatches from one record to the next.
            window: steps that a record looks back on.
            flops: what one sample or token costs, for MFU.

        Raises:
            SpecError: `every` or `window` is not positive.
        """
        if every < 1 or window < 1:
            raise SpecError(f"Meter has every={every}, window={window}; both count steps and must be at least 1")
        self.sinks = tuple(sinks)
        self.flops = flops
        self._every = every
        # One slot a step: seconds waited, seconds in all, exposed, samples, tokens, token places.
        self._ring: list[tuple[float, float, bool, int, int, int]] = []
        self._window = window
        self._at = 0
        self._written = 0
        self._fresh()

    def _fresh(self) -> None:
        self._began = 0.0
        self._before: tuple[float, bool, int, int, int] | None = None

    def on_start(self, ctx: Context) -> None:
        self._fresh()
        self._seen = (ctx.samples, ctx.tokens, ctx.padded_tokens)

    def on_batch(self, ctx: Context, batch: Any) -> None:
        began = ctx.fetch_began_s
        before = self._before
        if before is not None:
            wait, exposed, samples, tokens, places = before
            self._keep((wait, began - self._began, exposed, samples, tokens, places))
            if ctx.microbatch - 1 - self._written >= self._every:
                self._write(ctx)
        seen = self._seen
        self._before = (
            ctx.wait_s,
            ctx.exposed,
            ctx.samples - seen[0],
            ctx.tokens - seen[1],
            ctx.padded_tokens - seen[2],
        )
        self._seen = (ctx.samples, ctx.tokens, ctx.padded_tokens)
        self._began = began

    def _keep(self, row: tuple[float, float, bool, int, int, int]) -> None:
        ring = self._ring
        if len(ring) < self._window:
            ring.append(row)
        else:
            ring[self._at] = row
            self._at = (self._at + 1) % self._window

    def on_end(self, ctx: Context) -> None:
        if self._ring:
            self._write(ctx)

    def _write(self, ctx: Context) -> None:
        self._written = ctx.microbatch - 1
        if self.sinks:
            record = self.record(ctx)
            for sink in self.sinks:
                sink.write(ctx.step or ctx.microbatch, record)

    def record(self, ctx: Context) -> Record:
        """The figures of the newest steps; empty before the second batch.

        `wait_ratio` and `exposed_wait_ratio` are shares of time, `bottleneck_ratio` is a share of steps: those in which
        an exposed wait took more than a tenth of the step. `padded_tokens_per_second` counts padding too.
        """
        rows = self._ring
        if not rows:
            return {}
        total = sum(row[1] for row in rows) or math.ulp(0.0)
        waited = sum(row[0] > WAIT_SHARE * row[1] for row in rows) / len(rows)
        blocked = sum(row[2] and row[0] > WAIT_SHARE * row[1] for row in rows) / len(rows)
        waits, steps = sorted(row[0] for row in rows), sorted(row[1] for row in rows)
        samples, tokens = sum(row[3] for row in rows), sum(row[4] for row in rows)
        figures: dict[str, float | str] = {
            "samples_per_second": samples / total,
            "tokens_per_second": tokens / total,
            "padded_tokens_per_second": sum(row[5] for row in rows) / total,
            "wait_ratio": sum(waits) / total,
            "exposed_wait_ratio": sum(row[0] for row in rows if row[2]) / total,
            "bottleneck_ratio": blocked,
            "wait_seconds_p50": percentile(waits, 0.5),
            "wait_seconds_p99": percentile(waits, 0.99),
            "step_seconds_p50": percentile(steps, 0.5),
            "step_seconds_p99": percentile(steps, 0.99),
            "updates": float(ctx.step),
            "skipped_updates": float(ctx.skipped),
        }
        if self.flops is not None:
            done = samples * self.flops.per_sample or tokens * self.flops.per_token
            figures["mfu_ratio"] = done / total / self.flops.peak
        figures["verdict"] = verdict(blocked, waited, loader=ctx.loader)
        return figures


def percentile(ordered: Sequence[float], share: float) -> float:
    """The value below which `share` of the sorted values lie, by the nearest rank (never an invented value)."""
    return ordered[max(0, math.ceil(share * len(ordered)) - 1)]
