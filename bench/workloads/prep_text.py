"""prep_text: Parquet in, Parquet (zstd) out: NFC, white space, texts that are too short, exact copies.

A run is a whole preparation; a "batch" is the directory that it wrote and the one that it read.
"""

import json
import re
import unicodedata
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from forebay.bench.datasets.documents import LEAST, write_unclean
from forebay.bench.datasets.store import made_once

BATCH = 1
TURNS = 2
UNIT = "documents"
ABOUT = (
    "60,000 documents of about 150 words in Parquet: NFC, runs of white space to one space, shorter than 200 characters "
    "dropped, exact copies dropped, Parquet (zstd) again"
)
DOCUMENTS, QUICK_DOCUMENTS = 60_000, 4_096


def make_data(*, quick: bool) -> Path:
    """The data set's directory, made if it is not there."""
    number = QUICK_DOCUMENTS if quick else DOCUMENTS
    return made_once(f"unclean-{number}", lambda to: write_unclean(to, number))


def samples(data: Path) -> int:
    """Documents that are left: the number of a document is that of the first of its copies among them."""
    return int(json.loads((data / "stats.json").read_text())["kept"])


def count(batch: Any) -> int:
    """Documents that were read (limits give the number itself)."""
    return (
        batch if isinstance(batch, int) else int(json.loads((Path(batch[1]) / "stats.json").read_text())["documents"])
    )


def ids(batch: Any) -> np.ndarray:
    """Which documents were written: places in the order of their first copies; -1 for one that is in nobody's place."""
    known = {text: at for at, text in enumerate(_cleaned(Path(batch[1])))}
    return np.array([known.get(text, -1) for text in _texts(batch[0])])


def contract_faults(batch: Any, size: int) -> list[str]:
    """Where the files' schema differs from what was asked for."""
    schema = pq.read_schema(_files(batch[0])[0])
    kind = schema.field("text").type
    faults = [] if kind in (pa.string(), pa.large_string(), pa.string_view()) else [f"column text is {kind}"]
    return faults + ([] if schema.field("number").type == pa.int64() else ["column number is not int64"])


class Oracle:
    """Python's own `re` and `unicodedata`; a text that differs has no number, so `ids` finds it too."""

    def __init__(self, data: Path) -> None:
        self._known = set(_cleaned(data))

    def faults(self, batch: Any) -> list[str]:
        """Texts that should not be there."""
        strange = [text for text in _texts(batch[0]) if text not in self._known]
        return [f"{len(strange)} texts are not clean, such as {strange[0][:60]!r}"] if strange else []


def clean(text: str) -> str:
    """The definition."""
    return re.sub(r"\s+", " ", unicodedata.normalize("NFC", text)).strip()


def _cleaned(data: Path) -> list[str]:
    every = map(clean, _texts(data))
    return list(dict.fromkeys(text for text in every if len(text) >= LEAST))


def _texts(directory: Path) -> list[str]:
    return [text for path in _files(directory) for text in pq.read_table(path, columns=["text"])["text"].to_pylist()]


def _files(directory: Path) -> list[str]:
    return sorted(
        str(one) for one in Path(directory).rglob("*.parquet") if not one.name.startswith(("_", ".", "quarantine"))
    )
