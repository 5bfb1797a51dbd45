"""A fragment: the smallest run of rows that can be read on its own."""

from dataclasses import dataclass


@dataclass(frozen=True, kw_only=True, slots=True)
class Fragment:
    """One row group, record batch, byte range, run of image files, or tar: what a reader reads in one go.

    Fragments are made by `Reader.layout`, in source order, and are plain values: a runner sends them anywhere as JSON.
    """

    path: str
    """File (or, for image folders, directory) that holds the rows; local path or URL."""
    format: str
    """Name of the reader that made it, as in `forebay.formats.reader.READERS`."""
    start: int
    """First row group, record batch, byte or file index, as the format counts."""
    stop: int
    """One past the last."""
    rows: int | None
    """Rows in it, or None where only reading tells (CSV, JSONL, tars)."""
    nbytes: int
    """Bytes it takes on disk, or a fair estimate: what work units are balanced by."""
