"""Tokenizing beside the library that does it: `python -m forebay.bench.tokenizing [--texts N] [--rounds N] [--quick]`.

Two kinds of text: the documents of `ragged_text`, whose words are made up, and what people have written, the descriptions of the
packages that are installed here. A byte-level BPE of 8,192 tokens is trained on a part of each. `T.Tokenize` remembers the ids of
words, so its first pass over texts and later ones differ. One thread; ids are compared; medians of CPU time over the rounds,
which take turns.
"""

import argparse
import statistics
import sys
import time
from importlib import metadata
from typing import Any

import numpy as np
import pyarrow as pa

from forebay import transforms as T
from forebay.bench.datasets.documents import documents, train
from forebay.transforms.transform import Rows

_TRAINED_ON = 2_000
_CHARACTERS = 1_000
"""Of a text cut from a description, about."""
_AT_ONCE = 128
"""Texts of a record batch, as a loader's chunk has them."""


def descriptions(count: int) -> list[str]:
    """Up to `count` texts from the descriptions of installed packages, each package's once."""
    found: dict[str, str] = {}
    for one in metadata.distributions():
        body: Any = one.metadata.get_payload()  # type: ignore[attr-defined]  # an email message, whose body is the description
        found[one.metadata["Name"]] = str(body or "")
    texts: list[str] = []
    for name in sorted(found):
        part = ""
        for paragraph in found[name].split("\n\n"):
            part += paragraph + "\n\n"
            if len(part) >= _CHARACTERS:
                texts.append(part)
                part = ""
    return texts[:count]


def measure(texts: list[str], rounds: int) -> dict[str, float]:
    """Microseconds of CPU time a text, by candidate."""
    tokenizer = train(texts[:_TRAINED_ON])
    schema, spec = pa.schema([("text", pa.string())]), T.Tokenize("text", tokenizer=tokenizer.to_str())
    parts = [texts[at : at + _AT_ONCE] for at in range(0, len(texts), _AT_ONCE)]
    batches = [pa.record_batch([pa.array(one, pa.string())], schema=schema) for one in parts]
    rows, spent = Rows(np.zeros(0, np.uint64)), dict[str, list[float]]()
    for _ in range(rounds):
        step = spec.bind(schema, None, 0)
        for name in ("forebay, first pass", "forebay, later"):
            began = time.process_time()
            made = [step(one, rows)["input_ids"] for one in batches]
            spent.setdefault(name, []).append(time.process_time() - began)
        began = time.process_time()
        wanted = [[one.ids for one in tokenizer.encode_batch_fast(part)] for part in parts]
        spent.setdefault("tokenizers", []).append(time.process_time() - began)
        if [one.to_pylist() for one in made] != wanted:
            raise SystemExit("forebay and tokenizers differ")
    return {name: statistics.median(one) / len(texts) * 1e6 for name, one in spent.items()}


def main(arguments: list[str] | None = None) -> dict[str, dict[str, float]]:
    """Measure, print a table, and return it."""
    parser = argparse.ArgumentParser(description="Tokenizing of text.")
    parser.add_argument("--texts", type=int, default=8_192)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--quick", action="store_true", help="few texts: shows that it runs, not how fast")
    given = parser.parse_args(arguments)
    count, rounds = (256, 1) if given.quick else (given.texts, given.rounds)
    lines, found = ["| texts | candidate | microseconds a text | |", "|---|---|---:|---:|"], {}
    for kind, texts in (("made up", list(documents(count, seed=0))), ("descriptions", descriptions(count))):
        found[kind] = measure(texts, rounds)
        lines += [
            f"| {kind}, {len(texts):,} of {sum(map(len, texts)) // len(texts):,} characters | {name} | {value:.1f} | "
            f"{found[kind]['tokenizers'] / value:.1f} x |"
            for name, value in found[kind].items()
        ]
    sys.stdout.write("\n".join(lines) + "\n")
    return found


if __name__ == "__main__":
    main()
