"""ragged_text: documents tokenized on the fly, 64 of them packed behind one another without padding, global shuffle."""

import json
import os
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa

from forebay.bench.datasets.documents import write_documents
from forebay.bench.datasets.store import made_once

BATCH = 64
UNIT = "documents"
ABOUT = (
    "documents of about 150 words, tokenized on the fly by one byte-level BPE, 64 packed behind one another without padding: "
    "input_ids, labels, position_ids (1, T) int64, cu_seq_lens int32, global shuffle"
)
PARTS = ("input_ids", "labels", "position_ids", "cu_seq_lens", "number")
DOCUMENTS, QUICK_DOCUMENTS = 40_960, 1_024


def make_data(*, quick: bool) -> Path:
    """The data set's directory, made if it is not there."""
    number = QUICK_DOCUMENTS if quick else DOCUMENTS
    return made_once(f"documents-{number}", lambda to: write_documents(to, number))


def samples(data: Path) -> int:
    """Documents of the data set."""
    return int(json.loads((data / "documents.json").read_text())["count"])


def count(batch: Any) -> int:
    """Documents of a batch (limits give the number itself)."""
    return batch if isinstance(batch, int) else len(batch[4])


def ids(batch: Any) -> np.ndarray:
    """Which documents a batch holds."""
    return batch[4].numpy()


def texts(data: Path) -> Any:
    """The column of texts, memory-mapped."""
    return pa.ipc.open_file(pa.memory_map(str(data / "documents.arrow"))).read_all()["text"]


def tokenizer(data: Path, *, parallel: bool) -> Any:
    """The tokenizer that every system is given; `parallel`: it uses its own threads for a batch of texts."""
    os.environ["TOKENIZERS_PARALLELISM"] = "true" if parallel else "false"
    from tokenizers import Tokenizer

    return Tokenizer.from_file(str(data / "tokenizer.json"))


def contract_faults(batch: Any, size: int) -> list[str]:
    """Where a batch is not packed as asked for."""
    import torch

    if len(batch) != len(PARTS):
        return [f"a batch has {len(batch)} parts; expected {', '.join(PARTS)}"]
    total = batch[0].shape[-1]
    shapes = [(1, total), (1, total), (1, total), (len(batch[4]) + 1,), (len(batch[4]),)]
    kinds = [torch.int64, torch.int64, torch.int64, torch.int32, torch.int64]
    return [
        f"{name} is {part.dtype} {tuple(part.shape)}; expected {kind} {shape}"
        for name, part, shape, kind in zip(PARTS, batch, shapes, kinds, strict=True)
        if tuple(part.shape) != shape or part.dtype != kind or len(batch[4]) > size
    ]


class Oracle:
    """The tokenizer itself, text by text."""

    def __init__(self, data: Path) -> None:
        self._texts, self._tokenizer = texts(data), tokenizer(data, parallel=False)

    def faults(self, batch: Any) -> list[str]:
        """Where a batch differs from the texts' tokens."""
        tokens, labels, positions = (part[0].numpy() for part in batch[:3])
        ends = batch[3].numpy()
        for row, number in enumerate(ids(batch)):
            inside = slice(ends[row], ends[row + 1])
            expected = np.array(self._tokenizer.encode(self._texts[int(number)].as_py()).ids)
            shifted = np.concatenate([[-100], expected[1:]])
            if not np.array_equal(tokens[inside], expected):
                return [f"tokens of document {number} differ from the tokenizer's"]
            if not np.array_equal(labels[inside], shifted):
                return [f"labels of document {number} are not its tokens with -100 at the first"]
            if not np.array_equal(positions[inside], np.arange(len(expected))):
                return [f"positions of document {number} do not count from 0"]
        return []
