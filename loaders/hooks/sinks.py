"""Where a meter's records go: the console, TensorBoard, a Prometheus text file, or JSON lines."""

import json
import os
import sys
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Protocol, TextIO

import torch.distributed as dist

from forebay.formats.errors import SpecError
from forebay.loaders.hooks.extras import load_extra

Record = Mapping[str, float | str]
"""Figures by name; names end in their unit (`_seconds`, `_per_second`, `_ratio`). `verdict` is a sentence."""


def numbers(record: Record) -> dict[str, float]:
    """The figures of a record, without the sentences."""
    return {name: float(value) for name, value in record.items() if not isinstance(value, str)}


class Sink(Protocol):
    """Takes records. May be called often; must not raise for a slow disk or a closed terminal unless it lost data."""

    def write(self, step: int, record: Record) -> None: ...


class ConsoleSink:
    """One line a record, on standard error, from rank 0."""

    def __init__(self, stream: TextIO | None = None) -> None:
        self._stream = stream

    def write(self, step: int, record: Record) -> None:
        if dist.is_available() and dist.is_initialized() and dist.get_rank() != 0:
            return
        shown = [f"step {step}", f"{_number(record, 'samples_per_second'):,.0f} samples/s"]
        if _number(record, "tokens_per_second"):
            shown.append(f"{_number(record, 'tokens_per_second'):,.0f} tokens/s")
        shown.append(f"p50 {1e3 * _number(record, 'step_seconds_p50'):.1f} ms")
        shown.append(f"p99 {1e3 * _number(record, 'step_seconds_p99'):.1f} ms")
        shown.append(f"wait {_number(record, 'wait_ratio'):.1%}")
        if "mfu_ratio" in record:
            shown.append(f"MFU {_number(record, 'mfu_ratio'):.1%}")
        line = " | ".join([*shown, str(record.get("verdict", ""))])
        stream = self._stream or sys.stderr
        stream.write(line + "\n")
        stream.flush()


def _number(record: Record, name: str) -> float:
    return float(record.get(name, 0.0))


class JsonlSink:
    """Appends one JSON object a record, with `step` and `unix_seconds`."""

    def __init__(self, path: str | os.PathLike[str]) -> None:
        self.path = Path(path)
        self.path.parent.mkdir(parents=True, exist_ok=True)

    def write(self, step: int, record: Record) -> None:
        line = json.dumps({"step": step, "unix_seconds": time.time(), **record})
        with self.path.open("a", encoding="utf-8") as file:
            file.write(line + "\n")


class PrometheusSink:
    """Keeps the newest record in a text file for the node exporter's textfile collector (name it `*.prom`).

    The file is replaced whole, so a scrape never reads half of one.
    """

    def __init__(self, path: str | os.PathLike[str], *, labels: Mapping[str, str] | None = None) -> None:
        self.path = Path(path)
        self.labels = dict(labels or {})
        self.path.parent.mkdir(parents=True, exist_ok=True)

    def write(self, step: int, record: Record) -> None:
        part = self.path.with_name(f".{self.path.name}.{os.getpid()}")
        part.write_text(prometheus_text({"training_step": step, **record}, self.labels), encoding="utf-8")
        part.replace(self.path)


def prometheus_text(record: Record, labels: Mapping[str, str]) -> str:
    """The figures of a record in the text exposition format, version 0.0.4; sentences are left out."""
    pairs = ",".join(f'{name}="{_escaped(value)}"' for name, value in labels.items())
    suffix = f"{{{pairs}}}" if pairs else ""
    lines = []
    for name, value in numbers(record).items():
        lines += [f"# TYPE forebay_{name} gauge", f"forebay_{name}{suffix} {value!r}"]
    return "\n".join(lines) + "\n"


def _escaped(value: str) -> str:
    return value.replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n")


class TensorBoardSink:
    """Scalars under `forebay/`, and the verdict as text when it changes."""

    def __init__(self, log_dir: str | os.PathLike[str] | None = None, *, writer: Any = None) -> None:
        if (log_dir is None) == (writer is None):
            raise SpecError("TensorBoardSink needs log_dir, or the writer that you have already: one of the two")
        if log_dir is not None:
            load_extra("tensorboard", extra="hooks", used_for="TensorBoardSink")
            tensorboard = load_extra("torch.utils.tensorboard", extra="hooks", used_for="TensorBoardSink")
            writer = tensorboard.SummaryWriter(os.fspath(log_dir))
        self._writer = writer
        self._verdict = ""

    def write(self, step: int, record: Record) -> None:
        for name, value in numbers(record).items():
            self._writer.add_scalar(f"forebay/{name}", value, step)
        verdict = str(record.get("verdict", ""))
        if verdict != self._verdict:
            self._writer.add_text("forebay/verdict", verdict, step)
            self._verdict = verdict
        self._writer.flush()
