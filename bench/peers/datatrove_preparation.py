"""datatrove's pipelines for preparing text: clean and sign, find copies, write what is left; as its exact-dedup example does."""

import shutil
from typing import Any

from datatrove.data import Document
from datatrove.executor import LocalPipelineExecutor
from datatrove.pipeline.dedup.exact_dedup import (
    ExactDedupConfig,
    ExactDedupFilter,
    ExactDedupSignature,
    ExactFindDedups,
)
from datatrove.pipeline.filters import LambdaFilter
from datatrove.pipeline.formatters.base import BaseFormatter
from datatrove.pipeline.readers import ParquetReader
from datatrove.pipeline.writers import ParquetWriter

from forebay.bench.datasets.documents import LEAST
from forebay.bench.job import Job, Loader
from forebay.bench.peers.preparation import prepared
from forebay.bench.peers.text_preparation import clean


class Clean(BaseFormatter):
    """NFC and white space."""

    name = "clean"

    def format(self, text: str) -> str:
        return clean(text)


def _long_enough(document: Document) -> bool:
    return len(document.text) >= LEAST


def _text(document: Document) -> bytes:
    return document.text.encode()


def _columns(writer: Any, document: Document) -> dict[str, Any]:
    return {"number": int(document.id), "text": document.text}


def prep_text(job: Job, *, tasks: int) -> Loader:
    def work(source: str, target: str) -> None:
        between = f"{target}-between"
        shutil.rmtree(between, ignore_errors=True)

        def run(name: str, steps: list[Any], count: int) -> None:
            LocalPipelineExecutor(
                pipeline=steps, tasks=count, workers=count, logging_dir=f"{between}/logs-{name}", start_method="spawn"
            ).run()

        config = ExactDedupConfig(content_getter=_text)
        run(
            "clean",
            [
                ParquetReader(source, glob_pattern="*.parquet", id_key="number", doc_progress=False),
                Clean(),
                LambdaFilter(_long_enough),
                ParquetWriter(f"{between}/clean", adapter=_columns, compression="zstd"),
                ExactDedupSignature(f"{between}/signatures", config),
            ],
            tasks,
        )
        run("find", [ExactFindDedups(f"{between}/signatures", f"{between}/copies", config, lines_to_buffer=1000)], 1)
        run(
            "write",
            [
                ParquetReader(f"{between}/clean", id_key="number"),
                ExactDedupFilter(f"{between}/copies", config),
                ParquetWriter(target, adapter=_columns, compression="zstd"),
            ],
            tasks,
        )
        shutil.rmtree(between)

    return prepared(job, work)
