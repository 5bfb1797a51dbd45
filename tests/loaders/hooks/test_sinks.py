"""Every sink writes what it was given, where it was told to."""

import io
import json
import sys
from pathlib import Path

import pytest

from forebay.formats.errors import SpecError
from forebay.loaders.hooks.sinks import ConsoleSink, JsonlSink, PrometheusSink, Sink, TensorBoardSink, prometheus_text

RECORD = {
    "samples_per_second": 1234.5,
    "tokens_per_second": 10000.0,
    "step_seconds_p50": 0.01,
    "step_seconds_p99": 0.02,
    "wait_ratio": 0.25,
    "mfu_ratio": 0.4,
    "verdict": "compute is the bottleneck",
}


def test_the_console_line_has_rates_percentiles_and_the_verdict() -> None:
    stream = io.StringIO()
    ConsoleSink(stream).write(7, RECORD)
    assert stream.getvalue() == (
        "step 7 | 1,234 samples/s | 10,000 tokens/s | p50 10.0 ms | p99 20.0 ms | wait 25.0% | MFU 40.0% | "
        "compute is the bottleneck\n"
    )


def test_the_console_is_standard_error_by_default(capsys: pytest.CaptureFixture[str]) -> None:
    ConsoleSink().write(1, {"samples_per_second": 1.0})
    captured = capsys.readouterr()
    assert captured.out == "" and captured.err.startswith("step 1 | 1 samples/s")


def test_json_lines_are_appended(tmp_path: Path) -> None:
    sink = JsonlSink(tmp_path / "deep" / "meter.jsonl")
    sink.write(1, RECORD)
    sink.write(2, RECORD)
    lines = [json.loads(line) for line in sink.path.read_text().splitlines()]
    assert [line["step"] for line in lines] == [1, 2]
    assert {name: lines[0][name] for name in RECORD} == RECORD and lines[0]["unix_seconds"] > 1.6e9


def test_the_prometheus_file_is_replaced_whole_and_parses(tmp_path: Path) -> None:
    sink = PrometheusSink(tmp_path / "forebay.prom", labels={"run": 'a "b"\\c', "rank": "0"})
    sink.write(1, RECORD)
    sink.write(2, RECORD)
    text = sink.path.read_text()
    assert [path.name for path in tmp_path.iterdir()] == ["forebay.prom"]
    assert 'forebay_training_step{run="a \\"b\\"\\\\c",rank="0"} 2.0\n' in text
    assert "# TYPE forebay_wait_ratio gauge\n" in text and "verdict" not in text and text.endswith("\n")
    assert prometheus_text({"wait_ratio": 0.5}, {}).splitlines()[1] == "forebay_wait_ratio 0.5"


@pytest.mark.frameworks
def test_tensorboard_gets_scalars_and_the_verdict(tmp_path: Path) -> None:
    pytest.importorskip("tensorboard")
    TensorBoardSink(tmp_path).write(3, RECORD)
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    events = EventAccumulator(str(tmp_path))
    events.Reload()
    scalar = events.Scalars("forebay/wait_ratio")[0]
    assert (scalar.step, scalar.value) == (3, 0.25)
    assert "forebay/verdict/text_summary" in events.Tags()["tensors"]


def test_tensorboard_needs_one_place_and_the_library(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(SpecError, match="log_dir, or the writer"):
        TensorBoardSink()
    monkeypatch.setitem(sys.modules, "tensorboard", None)
    with pytest.raises(SpecError, match=r"TensorBoardSink needs tensorboard.*forebay\[hooks\]"):
        TensorBoardSink(tmp_path)


def test_all_of_them_are_sinks(tmp_path: Path) -> None:
    sinks: list[Sink] = [ConsoleSink(io.StringIO()), JsonlSink(tmp_path / "a"), PrometheusSink(tmp_path / "b")]
    for sink in sinks:
        sink.write(0, {})
