"""The benchmarks of preparation run at toy size, and their check of values can fail."""

from pathlib import Path

import pyarrow.parquet as pq
import pytest

from forebay.bench import parquet_settings, prep_memory, prep_tabular
from forebay.formats import open_shard


def test_all_candidates_give_the_same_rows(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    runs = prep_tabular.main(
        ["--rows", "5000", "--turns", "1", "--directory", str(tmp_path), "--json", str(tmp_path / "r.json")]
    )
    assert [one.candidate for one in runs] == ["forebay", "polars", "pyarrow", "pandas"]
    assert all(one.cpu_s > 0 and one.peak_bytes > 0 and one.output_bytes > 0 for one in runs)
    assert "| forebay |" in capsys.readouterr().out and (tmp_path / "r.json").exists()


def test_all_systems_write_parquet_with_the_settings_of_shards(tmp_path: Path) -> None:
    assert (parquet_settings.ZSTD_LEVEL, parquet_settings.PAGE_BYTES) == (open_shard.ZSTD_LEVEL, open_shard.PAGE_BYTES)
    source = prep_tabular.make_data(tmp_path, 1000)
    found = {}
    for name in ("forebay", "pyarrow", "pandas"):
        prep_tabular.CANDIDATES[name](str(source), str(tmp_path / name))
        first = sorted((tmp_path / name).glob("*.parquet"))[0]
        group = pq.read_metadata(first).row_group(0)
        columns = [group.column(at) for at in range(group.num_columns)]
        found[name] = {(one.path_in_schema, one.compression, one.encodings, one.is_stats_set) for one in columns}
    assert found["pyarrow"] == found["pandas"] == found["forebay"]


def test_the_check_sees_a_wrong_value(tmp_path: Path) -> None:
    source = prep_tabular.make_data(tmp_path, 1000)
    for name in ("a", "b"):
        prep_tabular.pyarrow(str(source), str(tmp_path / name))
    prep_tabular.check({"a": tmp_path / "a", "b": tmp_path / "b"})
    path = tmp_path / "b" / "out.parquet"
    table = pq.read_table(path)
    at = table.schema.get_field_index("c03")
    pq.write_table(table.set_column(at, "c03", table.column("c04")), path)
    with pytest.raises(SystemExit, match="differ in column c03"):
        prep_tabular.check({"a": tmp_path / "a", "b": tmp_path / "b"})


def test_the_peak_of_memory_is_measured(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    peak = prep_memory.main(["--input", "3MB", "--memory", "2GB", "--rows", "5000", "--directory", str(tmp_path)])
    assert 0 < peak < 2e9
    assert "the limit holds" in capsys.readouterr().out
