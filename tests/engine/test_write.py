"""Writing: each row once, whole or absent, whatever happens on the way."""

import random
import signal
import subprocess
import sys
import time
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from support import tables

import forebay as fb
from forebay import transforms as T
from forebay.formats.errors import DataError, SpecError, StateError, UnknownNameError

TABLES = Path(tables.__file__)


def contents(directory: Path) -> dict[str, bytes]:
    return {str(one.relative_to(directory)): one.read_bytes() for one in sorted(directory.rglob("*")) if one.is_file()}


def test_every_row_is_written_once_and_in_order(tmp_path: Path) -> None:
    source = tables.write_parquet(tmp_path / "raw")
    report = fb.scan(str(source)).write(str(tmp_path / "out"), unit_bytes=3000, max_rows=170)
    assert report.read == report.written == 3000
    found = fb.scan(str(tmp_path / "out")).head(5000)
    assert found.column("row").to_pylist() == list(range(3000))
    assert report.shards > 3000 // 170


@pytest.mark.parametrize("threads", [1, 2, 4])
def test_output_bytes_do_not_depend_on_threads(tmp_path: Path, threads: int) -> None:
    source = tables.write_parquet(tmp_path / "raw")
    ds = fb.scan(str(source)).apply(T.FillNull(["x"], strategy="mean"), T.Standardize(["x"])).fit(threads=threads)
    ds.write(str(tmp_path / "out"), unit_bytes=2000, threads=threads)
    once = fb.scan(str(source)).apply(T.FillNull(["x"], strategy="mean"), T.Standardize(["x"])).fit(threads=1)
    once.write(str(tmp_path / "one"), unit_bytes=2000, threads=1)
    assert contents(tmp_path / "out") == contents(tmp_path / "one")


def test_killed_at_random_points_and_started_again_it_is_byte_for_byte_the_same(tmp_path: Path) -> None:
    source = tables.write_parquet(tmp_path / "raw", files=4, rows=2000)
    tables.prepare(str(source), str(tmp_path / "calm"))
    calm = contents(tmp_path / "calm")
    rng = random.Random(0)
    target = tmp_path / "killed"
    kills = 0
    for attempt in range(12):
        process = subprocess.Popen([sys.executable, str(TABLES), str(source), str(target)])
        deadline = time.monotonic() + 60
        # wait until it writes, then kill it somewhere in the middle
        while not any(target.glob("_journal.jsonl")) and process.poll() is None and time.monotonic() < deadline:
            time.sleep(0.002)
        time.sleep(rng.random() * 0.03)
        if process.poll() is None and attempt < 8:
            process.send_signal(signal.SIGKILL)
            kills += 1
        process.wait(60)
        if (target / "manifest.json").exists():
            break
        assert process.returncode == -signal.SIGKILL
    assert kills >= 1
    tables.prepare(str(source), str(target))  # the last kill may have come when all but the tidying was done
    assert contents(target) == calm


def test_a_finished_output_is_left_as_it_is(tmp_path: Path) -> None:
    source = tables.write_parquet(tmp_path / "raw")
    first = fb.scan(str(source)).write(str(tmp_path / "out"))
    again = fb.scan(str(source)).write(str(tmp_path / "out"))
    assert again.already_done and again.written == first.written


def test_the_output_of_another_recipe_is_refused_by_name(tmp_path: Path) -> None:
    source = tables.write_parquet(tmp_path / "raw")
    fb.scan(str(source)).write(str(tmp_path / "out"))
    with pytest.raises(StateError, match="another recipe, input or setting.*overwrite"):
        fb.scan(str(source)).filter("n > 0").write(str(tmp_path / "out"))
    fb.scan(str(source)).filter("n > 0").write(str(tmp_path / "out"), overwrite=True)
    assert len(fb.scan(str(tmp_path / "out"))) < 3000


def test_a_changed_input_is_noticed(tmp_path: Path) -> None:
    source = tables.write_parquet(tmp_path / "raw")
    fb.scan(str(source)).write(str(tmp_path / "out"))
    pq.write_table(tables.table(50, seed=3), source / "2.parquet")
    with pytest.raises(StateError, match="input"):
        fb.scan(str(source)).write(str(tmp_path / "out"))


def test_a_directory_with_other_files_is_refused(tmp_path: Path) -> None:
    source = tables.write_parquet(tmp_path / "raw")
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "thesis.tex").write_text("mine")
    with pytest.raises(SpecError, match="thesis.tex"):
        fb.scan(str(source)).write(str(tmp_path / "out"))
    with pytest.raises(SpecError, match="thesis.tex"):
        fb.scan(str(source)).write(str(tmp_path / "out"), overwrite=True)
    assert (tmp_path / "out" / "thesis.tex").read_text() == "mine"


def test_one_bad_row_is_set_aside_and_its_batch_goes_on(tmp_path: Path) -> None:
    source = tables.write_parquet(tmp_path / "raw")
    ds = fb.scan(str(source)).map_batches(tables.boom_at_13, version="1")
    report = ds.write(str(tmp_path / "out"))
    assert report.written == 2999 and sum(report.bad.values()) == 1
    aside = pq.read_table(tmp_path / "out" / "quarantine.parquet").to_pylist()
    assert aside[0]["row"] == 13 and "thirteen" in aside[0]["reason"] and aside[0]["file"].endswith("0.parquet")
    assert '"row": 13' in aside[0]["values"]


def test_under_raise_the_first_bad_row_stops_the_run_with_its_place(tmp_path: Path) -> None:
    source = tables.write_parquet(tmp_path / "raw")
    ds = fb.scan(str(source)).map_batches(tables.boom_at_13, version="1")
    with pytest.raises(DataError, match=r"0\.parquet: fragment 0, row 13, stage .*boom_at_13.*thirteen"):
        ds.write(str(tmp_path / "out"), on_bad="raise")
    assert not (tmp_path / "out" / "manifest.json").exists()


def test_a_budget_of_bad_rows_stops_the_run(tmp_path: Path) -> None:
    source = tables.write_parquet(tmp_path / "raw")
    ds = fb.scan(str(source)).map_batches(tables.boom_at_13, version="1")
    with pytest.raises(DataError, match="1 of .* rows are bad, and max_bad allows 0 rows"):
        ds.write(str(tmp_path / "out"), max_bad=0)


def test_skip_counts_and_writes_no_quarantine(tmp_path: Path) -> None:
    source = tables.write_parquet(tmp_path / "raw")
    report = (
        fb.scan(str(source)).map_batches(tables.boom_at_13, version="1").write(str(tmp_path / "out"), on_bad="skip")
    )
    assert report.written == 2999
    assert not (tmp_path / "out" / "quarantine.parquet").exists()


def test_a_function_that_cannot_be_imported_runs_in_threads(tmp_path: Path) -> None:
    source = tables.write_parquet(tmp_path / "raw")
    ds = fb.scan(str(source)).map_batches(lambda batch: batch, version="1")
    assert "not importable" in ds.explain()
    assert ds.write(str(tmp_path / "out")).written == 3000


def test_zero_rows_left_is_an_output_too(tmp_path: Path) -> None:
    source = tables.write_parquet(tmp_path / "raw")
    report = fb.scan(str(source)).filter("n > 5000").write(str(tmp_path / "out"))
    assert report.written == 0 and report.read == 3000
    assert sum(report.filtered.values()) == 3000
    assert fb.scan(str(tmp_path / "out")).schema.names == ["row", "x", "n", "s", "y"]


def test_an_option_that_does_not_exist_names_the_nearest(tmp_path: Path) -> None:
    source = tables.write_parquet(tmp_path / "raw")
    with pytest.raises(UnknownNameError, match="max_rows"):
        fb.scan(str(source)).write(str(tmp_path / "out"), max_row=5)


def test_arrow_shards_hold_the_same_rows(tmp_path: Path) -> None:
    source = tables.write_parquet(tmp_path / "raw")
    fb.scan(str(source)).write(str(tmp_path / "a"), format="arrow")
    fb.scan(str(source)).write(str(tmp_path / "p"), format="parquet")
    left, right = fb.scan(str(tmp_path / "a")), fb.scan(str(tmp_path / "p"))
    assert left.source.random_access and not right.source.random_access
    assert left.head(3000).equals(right.head(3000))


def test_a_full_disk_is_a_clear_error_and_leaves_no_half_shard(tmp_path: Path) -> None:
    source = tables.write_parquet(tmp_path / "raw", files=2, rows=4000)
    script = (
        "import resource, sys; resource.setrlimit(resource.RLIMIT_FSIZE, (20000, 20000));"
        "import signal; signal.signal(signal.SIGXFSZ, signal.SIG_IGN);"
        "import forebay as fb; fb.scan(sys.argv[1]).write(sys.argv[2], threads=1)"
    )
    done = subprocess.run(
        [sys.executable, "-c", script, str(source), str(tmp_path / "out")], capture_output=True, text=True, timeout=120
    )
    assert done.returncode == 1 and "StorageError" in done.stderr and "cannot be written" in done.stderr
    assert [one.name for one in (tmp_path / "out").iterdir()] == ["_journal.jsonl"]


def test_fitted_state_serves_without_the_engine(tmp_path: Path) -> None:
    from forebay.transforms import fit

    source = tables.write_parquet(tmp_path / "raw")
    ds = (
        fb.scan(str(source))
        .apply(T.FillNull(["x"], strategy="median"), T.Standardize(["x"]), T.Categorize(["s"]))
        .fit()
    )
    ds.write(str(tmp_path / "out"))
    raw = pa.Table.from_batches(fb.scan(str(source)).iter_batches()).combine_chunks().to_batches()[0]
    served = fit.load(tmp_path / "out").transform(raw)
    assert pa.Table.from_batches([served]).equals(fb.scan(str(tmp_path / "out")).head(3000))


def test_a_kill_between_manifest_and_clean_up_leaves_no_trace(tmp_path: Path) -> None:
    source = tables.write_parquet(tmp_path / "raw")
    fb.scan(str(source)).write(str(tmp_path / "out"))
    calm = contents(tmp_path / "out")
    for name in ("_journal.jsonl", "_part-00000.quarantine", ".forebay-tmp-0123-part"):
        (tmp_path / "out" / name).write_text("left by a run that was killed when all was done but this")
    assert fb.scan(str(source)).write(str(tmp_path / "out")).already_done
    assert contents(tmp_path / "out") == calm
