"""Documents of made-up words that are as frequent as words are: clean ones to tokenize, unclean ones with copies."""

import json
import unicodedata
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

WORDS = 20_000
VOCABULARY = 8_192
_ROWS = 1_024
_FILES = 8
_COPIES = 0.25
_TRAINED_ON = 2_000
_SPACES = (" ", "  ", "\n", "\t", "\u00a0", " \n\n ")


def _words(rng: np.random.Generator) -> np.ndarray:
    """Distinct words of one to five syllables, short ones first, one in twenty with an accent."""
    onsets = np.array([*"bcdfghjklmnprstvwz", "st", "tr", "pl", "sh", "ch", "br"])
    kernels, accented = np.array(list("aeiou")), np.array(list("éèäöüñç"))
    codas = np.array(["", "", "", "n", "r", "s", "t", "l", "nd"])
    found: dict[str, None] = {}
    while len(found) < WORDS:
        syllables = 1 + min(4, len(found) // 2_000) + int(rng.integers(0, 2))
        word = "".join(
            str(rng.choice(onsets))
            + str(rng.choice(accented if rng.random() < 0.02 else kernels))
            + str(rng.choice(codas))
            for _ in range(syllables)
        )
        found[word] = None
    return np.array(list(found), dtype=object)


def documents(count: int, seed: int) -> Iterator[str]:
    """Texts of about 150 words (log-normal), in sentences; word r of the list is drawn in proportion to 1 / (r + 3)."""
    words = _words(np.random.default_rng(7))
    shares = 1 / (np.arange(WORDS) + 3.0)
    ladder = np.cumsum(shares / shares.sum())
    rng = np.random.default_rng(seed)
    for _ in range(count):
        size = int(np.clip(rng.lognormal(4.7, 0.8), 8, 1_200))
        drawn = words[np.searchsorted(ladder, rng.random(size)).clip(max=WORDS - 1)].tolist()
        for start in range(0, size, 12):
            stop = min(start + 11, size - 1)
            drawn[start] = drawn[start].capitalize()
            drawn[stop] += "."
        yield " ".join(drawn)


def write_documents(directory: Path, count: int) -> None:
    """`documents.arrow`: number int64, text string, in record batches; `tokenizer.json`: byte-level BPE trained on the first."""
    schema = pa.schema([("number", pa.int64()), ("text", pa.string())])
    texts = list(documents(count, seed=0))
    with pa.OSFile(str(directory / "documents.arrow"), "wb") as sink, pa.ipc.new_file(sink, schema) as writer:
        for start in range(0, count, _ROWS):
            some = texts[start : start + _ROWS]
            numbers = np.arange(start, start + len(some))
            writer.write(pa.record_batch([pa.array(numbers), pa.array(some, pa.string())], schema=schema))
    train(texts[:_TRAINED_ON]).save(str(directory / "tokenizer.json"))
    (directory / "documents.json").write_text(json.dumps({"count": count}))


def train(texts: list[str]) -> Any:
    """A byte-level BPE of `VOCABULARY` tokens."""
    from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers

    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=VOCABULARY, initial_alphabet=pre_tokenizers.ByteLevel.alphabet(), show_progress=False
    )
    tokenizer.train_from_iterator(texts, trainer)
    return tokenizer


def write_unclean(directory: Path, count: int) -> None:
    """`N.parquet` with number int64 and text string: odd white space, letters taken apart, and one in four a copy.

    Copies differ from what they copy in white space and in Unicode form only. `stats.json`: how many are left when the
    texts are clean and each is kept once.
    """
    rng = np.random.default_rng(3)
    texts = list(documents(count, seed=1))
    copies = np.flatnonzero(rng.random(count) < _COPIES)
    for at in copies[copies > 0]:
        texts[at] = texts[int(rng.integers(0, at))]
    kept = len({text for text in texts if len(text) >= LEAST})
    for number in range(_FILES):
        part = range(number * count // _FILES, (number + 1) * count // _FILES)
        unclean = [_spoiled(texts[at], rng) for at in part]
        table = pa.table({"number": pa.array(part, pa.int64()), "text": pa.array(unclean, pa.string())})
        pq.write_table(table, directory / f"{number}.parquet", compression="zstd", row_group_size=8_192)
    (directory / "stats.json").write_text(json.dumps({"documents": count, "kept": kept}))


LEAST = 200
"""Characters that a clean document must have to be kept."""


def _spoiled(text: str, rng: np.random.Generator) -> str:
    words = text.split(" ")
    for at in rng.integers(0, len(words), 1 + len(words) // 20):
        words[at] += _SPACES[int(rng.integers(len(_SPACES)))]
    joined = " ".join(words)
    if rng.random() < 0.3:
        joined = unicodedata.normalize("NFD", joined)
    return f"\n {joined}\t" if rng.random() < 0.5 else joined
