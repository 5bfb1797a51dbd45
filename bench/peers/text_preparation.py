"""Preparing text with Polars, pyarrow and pandas: what their users write."""

import re
from pathlib import Path
from typing import Any

from forebay.bench.datasets.documents import LEAST
from forebay.bench.job import Job, Loader
from forebay.bench.parquet_settings import TEXT_GROUP_ROWS, arrow_settings, polars_settings
from forebay.bench.peers.preparation import prepared

_SPACE = r"\s+"


def polars(source: str, target: str) -> None:
    """One lazy query; the streaming engine keeps the first of equal rows only if the order is asked for."""
    import polars as pl

    clean = pl.col("text").str.normalize("NFC").str.replace_all(_SPACE, " ").str.strip_chars()
    made = (
        pl.scan_parquet(f"{source}/*.parquet")
        .with_columns(clean)
        .filter(pl.col("text").str.len_chars() >= LEAST)
        .unique(subset="text", keep="any")
    )
    Path(target).mkdir()
    made.sink_parquet(f"{target}/out.parquet", engine="streaming", **polars_settings(TEXT_GROUP_ROWS))


def pyarrow(source: str, target: str) -> None:
    """Compute functions file by file on its threads' reads; copies are found by Arrow's dictionary encoding of all texts."""
    import numpy as np
    import pyarrow as pa
    import pyarrow.compute as pc
    import pyarrow.parquet as pq

    cleaned = []
    for path in sorted(Path(source).glob("*.parquet")):
        table = pq.read_table(path)
        text = pc.utf8_normalize(table["text"], "NFC")
        text = pc.utf8_trim_whitespace(pc.replace_substring_regex(text, r"[\s\p{Z}]+", " "))
        made = pa.table({"number": table["number"], "text": text})
        cleaned.append(made.filter(pc.greater_equal(pc.utf8_length(text), LEAST)))
    whole = pa.concat_tables(cleaned)
    codes = whole["text"].combine_chunks().dictionary_encode().indices.to_numpy()
    _, first = np.unique(codes, return_index=True)
    Path(target).mkdir()
    settings = {"row_group_size": TEXT_GROUP_ROWS, **arrow_settings(whole.schema)}
    pq.write_table(whole.take(np.sort(first)), f"{target}/out.parquet", **settings)


def pandas(source: str, target: str) -> None:
    """Vectorized string methods, which are loops in C or Python."""
    import pandas as pd
    import pyarrow as pa

    frame = pd.concat([pd.read_parquet(path) for path in sorted(Path(source).glob("*.parquet"))])
    frame["text"] = frame["text"].str.normalize("NFC").str.replace(_SPACE, " ", regex=True).str.strip()
    frame = frame[frame["text"].str.len() >= LEAST].drop_duplicates("text")
    Path(target).mkdir()
    settings = arrow_settings(pa.schema([("number", pa.int64()), ("text", pa.string())]))
    frame.to_parquet(f"{target}/out.parquet", index=False, row_group_size=TEXT_GROUP_ROWS, **settings)


def prep_text(job: Job, *, how: str) -> Loader:
    return prepared(job, {"polars": polars, "pyarrow": pyarrow, "pandas": pandas}[how])


def clean(text: str, *, spaces: Any = re.compile(_SPACE)) -> str:
    """One text in Python, for systems that map functions over texts."""
    import unicodedata

    return str(spaces.sub(" ", unicodedata.normalize("NFC", text)).strip())
