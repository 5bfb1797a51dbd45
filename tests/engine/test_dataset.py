"""The Dataset: lazy, immutable, the same rows whichever way they are asked for."""

import pickle
from pathlib import Path

import polars as pl
import pyarrow as pa
import pyarrow.compute as pc
import pytest
import torch
from support import tables

import forebay as fb
from forebay import transforms as T
from forebay.formats.errors import DataError, NotFittedError, SchemaError, SpecError, UnknownNameError


@pytest.fixture
def ds(tmp_path: Path) -> fb.Dataset:
    return fb.scan(str(tables.write_parquet(tmp_path / "raw")))


def everything(ds: fb.Dataset) -> pa.Table:
    return pa.Table.from_batches(ds.iter_batches(), schema=ds.plan().schema).combine_chunks()


@pytest.mark.parametrize(
    "expression",
    [
        "n > 10 and x is not null",
        (pl.col("n") > 10) & pl.col("x").is_not_null(),
        (pc.field("n") > 10) & pc.field("x").is_valid(),
    ],
    ids=["sql", "polars", "arrow"],
)
def test_filters_of_all_dialects_keep_the_same_rows(ds: fb.Dataset, expression: object) -> None:
    found = everything(ds.filter(expression)).column("row").to_pylist()  # type: ignore[arg-type]  # one of three types
    oracle = [one["row"] for one in tables.table(3000).to_pylist() if one["n"] > 10 and one["x"] is not None]
    assert found == oracle
    assert len(ds.filter(expression)) == len(oracle)  # type: ignore[arg-type]  # one of three types


def test_adding_to_a_dataset_leaves_it_as_it_was(ds: fb.Dataset) -> None:
    narrowed = ds.filter("n > 0").select("row")
    assert len(ds) == 3000 and len(ds.schema) == 5
    assert narrowed.schema.names == ["row"]


def test_only_needed_columns_are_read_and_filters_are_pushed_down(ds: fb.Dataset) -> None:
    plan = ds.filter("n > 10 and y = 1 and x > 0.5").select("row").plan()
    assert plan.columns == ("row", "x", "n", "y")
    assert str(plan.pushed) == "((n > 10) and (y == 1))"  # x may hold NaN, which Polars counts as large
    assert ds.select("row").plan().columns == ("row",)


def test_rows_by_index_equal_rows_in_order(ds: fb.Dataset) -> None:
    filtered = ds.filter("n > 0").apply(T.FillNull(["x"], value=0.0))
    whole = everything(filtered).to_pylist()
    picked = [7, 1200, 3, len(filtered) - 1, 7]
    rows = filtered.__getitems__(picked)
    assert [one["row"] for one in rows] == [whole[at]["row"] for at in picked]
    assert filtered[-1]["row"] == whole[-1]["row"]
    with pytest.raises(IndexError, match="of a data set of"):
        filtered[len(filtered)]


def test_the_stock_torch_loader_takes_it(ds: fb.Dataset) -> None:
    loader = torch.utils.data.DataLoader(ds.apply(T.FillNull(["x"], value=0.0)), batch_size=64, num_workers=0)
    rows = torch.cat([batch["row"] for batch in loader])
    assert torch.equal(rows, torch.arange(3000))


def test_it_travels_to_another_process(ds: fb.Dataset) -> None:
    again = pickle.loads(pickle.dumps(ds.filter("n > 0")))
    assert everything(again).equals(everything(ds.filter("n > 0")))


def test_a_users_function_adds_columns(ds: fb.Dataset) -> None:
    made = ds.map_batches(tables.doubled, version="1", columns=["n"])
    assert made.schema.names[-1] == "twice"
    row = made[5]
    assert row["twice"] == 2 * row["n"]


def test_a_users_function_must_keep_the_number_of_rows(ds: fb.Dataset) -> None:
    made = ds.map_batches(lambda batch: batch.slice(1), version="1", schema=ds.schema)
    with pytest.raises(DataError, match=r"returned 299 rows for 300|expected as many rows"):
        everything(made)


def test_a_users_function_needs_a_version(ds: fb.Dataset) -> None:
    with pytest.raises(SpecError, match="version is missing"):
        ds.map_batches(tables.doubled, version="")


def test_mistakes_are_refused_where_they_are_made(ds: fb.Dataset) -> None:
    with pytest.raises(SchemaError, match="names column 'm'"):
        ds.filter("m > 1")
    with pytest.raises(SpecError, match="does not parse"):
        ds.filter("n >")
    with pytest.raises(UnknownNameError, match="did you mean"):
        ds.select("rwo")
    with pytest.raises(SpecError, match=r"got the class FillNull"):
        ds.apply(T.FillNull)
    with pytest.raises(SpecError, match="got a int"):
        ds.apply(3)  # type: ignore[arg-type]  # that is the mistake


def test_an_unfitted_transform_is_named(ds: fb.Dataset) -> None:
    with pytest.raises(NotFittedError, match="Standardize must learn .* call .fit"):
        ds.apply(T.Standardize(["x"])).head(1)


def test_fitting_takes_as_many_passes_as_dependencies(ds: fb.Dataset) -> None:
    graph = ds.apply(T.FillNull(["x"], strategy="median"), T.Standardize(["x"]), T.Categorize(["s"]))
    text = graph.explain()
    assert "pass 1 of 2: FillNull, Categorize" in text and "pass 2 of 2: Standardize" in text
    fitted = everything(graph.fit()).column("x").to_numpy()
    assert abs(float(fitted.mean())) < 1e-5 and abs(float(fitted.std()) - 1) < 1e-5


def test_explain_shows_what_a_sample_costs(ds: fb.Dataset) -> None:
    text = ds.filter("n > 0").apply(T.FillNull(["x"], value=0.0), T.Log1p(["n"])).explain(sample=200)
    assert "µs a row" in text and "keeps" in text and "FillNull+Log1p" in text


def test_fingerprints_tell_recipes_and_data_apart(ds: fb.Dataset, tmp_path: Path) -> None:
    assert ds.filter("n > 0").fingerprint != ds.filter("n > 1").fingerprint
    other = fb.scan(str(tables.write_parquet(tmp_path / "other", rows=999)))
    assert ds.fingerprint != other.fingerprint


def test_head_of_nothing_has_the_columns(ds: fb.Dataset) -> None:
    assert ds.filter("n > 99999").head(3).schema.names == ds.schema.names
