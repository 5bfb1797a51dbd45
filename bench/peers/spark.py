"""Spark on one machine: DataFrame expressions, moments by an aggregation, Parquet written with zstd."""

import os
import sys
from typing import Any

import pandas as pd
from pyspark.sql import SparkSession
from pyspark.sql import functions as F

from forebay.bench.datasets.documents import LEAST
from forebay.bench.datasets.tabular import FLOATS, INTEGERS, MODULUS
from forebay.bench.job import Job, Loader
from forebay.bench.parquet_settings import PAGE_BYTES, ZSTD_LEVEL
from forebay.bench.peers.preparation import prepared
from forebay.bench.peers.text_preparation import clean


def _session(cpus: int) -> Any:
    os.environ["PYSPARK_PYTHON"] = sys.executable
    session = (
        SparkSession.builder.master(f"local[{cpus}]")
        .config("spark.ui.enabled", "false")
        .config("spark.driver.memory", "4g")
        .config("spark.sql.parquet.compression.codec", "zstd")
        .config("spark.hadoop.parquet.compression.codec.zstd.level", str(ZSTD_LEVEL))
        .config("spark.hadoop.parquet.enable.dictionary", "false")
        .config("spark.hadoop.parquet.page.size", str(PAGE_BYTES))
        .getOrCreate()
    )
    session.sparkContext.setLogLevel("ERROR")
    return session


def prep_tabular(job: Job, *, cpus: int) -> Loader:
    session = _session(cpus)

    def work(source: str, target: str) -> None:
        data = session.read.parquet(f"{source}/*.parquet")
        logged = {name: F.log1p(F.coalesce(F.col(name), F.lit(0.0).cast("float"))) for name in FLOATS}
        moments: list[Any] = [F.avg(one).alias(f"{name}_mean") for name, one in logged.items()]
        moments += [F.stddev_pop(one).alias(f"{name}_std") for name, one in logged.items()]
        found = data.agg(*moments).first()
        scaled = [
            ((one - F.lit(found[f"{name}_mean"])) / F.lit(found[f"{name}_std"])).cast("float").alias(name)
            for name, one in logged.items()
        ]
        folded = [(F.col(name) % MODULUS).alias(name) for name in INTEGERS]
        data.select(*scaled, *folded, "label").write.mode("overwrite").parquet(target)

    return prepared(job, work)


def prep_text(job: Job, *, cpus: int) -> Loader:
    """Spark has no normal forms, so texts are cleaned by a pandas function in its Python workers."""
    session = _session(cpus)
    cleaned = F.pandas_udf(_clean, "string")

    def work(source: str, target: str) -> None:
        data = session.read.parquet(f"{source}/*.parquet").withColumn("text", cleaned("text"))
        kept = data.where(F.length("text") >= LEAST).dropDuplicates(["text"])
        kept.write.mode("overwrite").parquet(target)

    return prepared(job, work)


def _clean(texts: pd.Series) -> pd.Series:  # Spark reads the types
    return texts.map(clean)
