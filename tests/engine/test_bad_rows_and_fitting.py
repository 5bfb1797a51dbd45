"""A bad row stops neither fitting nor what was learned from the rows around it."""

from pathlib import Path

import pytest

import forebay as fb
from forebay import transforms as T
from forebay.formats.errors import DataError


@pytest.mark.parametrize("on_bad", ["quarantine", "skip"])
def test_fitting_goes_on_past_lines_that_do_not_parse(tmp_path: Path, on_bad: str) -> None:
    (tmp_path / "t.jsonl").write_text('{"a": 1.0}\nnope\n{"a": null}\n{"a": 3.0}\n')
    ds = fb.scan(str(tmp_path / "t.jsonl")).apply(T.FillNull(["a"], strategy="mean"))
    with pytest.raises(DataError, match=r"t\.jsonl.*not JSON"):
        ds.fit()
    fitted = ds.fit(on_bad=on_bad)  # type: ignore[arg-type]  # one of the policies
    report = fitted.write(str(tmp_path / "out"), on_bad=on_bad)
    assert report.read == 4 and report.written == 3 and sum(report.bad.values()) == 1
    assert fb.scan(str(tmp_path / "out")).head().column("a").to_pylist() == [1.0, 2.0, 3.0]


def test_what_was_learned_by_row_holds_where_a_row_is_bad_in_another_column(tmp_path: Path) -> None:
    (tmp_path / "t.csv").write_text("key,b\n1,x\n1,5\n2,6\n2,7\n")
    ds = fb.scan(str(tmp_path / "t.csv"), types={"b": "int64"}).apply(T.DropDuplicates(["key"]))
    report = ds.fit(on_bad="quarantine").write(str(tmp_path / "out"))
    assert sum(report.bad.values()) == 1
    # fitting looks at `key` alone, where the first row is as good as any: it must not take that row's place
    assert fb.scan(str(tmp_path / "out")).head().to_pylist() == [{"key": 1, "b": 5}, {"key": 2, "b": 6}]
