"""A cold kernel cache says so once; a warm one is quick and silent."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

LOADED = "from forebay.transforms import kernels; kernels._PATIENCE = 0.1; import forebay.transforms.kernels.permute"


def first_use(cache: Path, code: str = LOADED) -> str:
    environment = {**os.environ, "NUMBA_CACHE_DIR": str(cache)}
    done = subprocess.run([sys.executable, "-c", code], env=environment, capture_output=True, text=True, timeout=240)
    assert done.returncode == 0, done.stderr
    return done.stderr


def test_compiling_is_announced_once_and_loading_is_not(tmp_path):
    said = first_use(tmp_path)
    assert said.count("forebay compiles its kernels") == 1 and "forebay doctor --warm" in said
    assert first_use(tmp_path) == ""


@pytest.mark.slow
def test_a_pipeline_compiles_nothing_once_doctor_has_warmed_the_cache(tmp_path):
    environment = {**os.environ, "NUMBA_CACHE_DIR": str(tmp_path)}
    command = [sys.executable, "-m", "forebay", "doctor", "--warm"]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=600)
    assert done.returncode == 0 and "compiled columns in" in done.stderr and "modules ready" in done.stdout
    pipeline = (
        "import sys, numpy as np, pyarrow as pa; from forebay import transforms as T\n"
        "from forebay.transforms.native import image\n"
        "from forebay.transforms.fuse_columns import fuse\n"
        "from forebay.transforms.transform import Rows\n"
        "batch = pa.RecordBatch.from_pydict({'x': [1.0, None]})\n"
        "chain = [T.FillNull(['x'], value=0), T.Log1p(['x'])]\n"
        "fuse(chain, batch.schema, [None, None], range(2)).run(batch, Rows(np.arange(2, dtype=np.uint64)))\n"
        "assert 'numba' not in sys.modules or not image.supported()\n"
    )
    assert first_use(tmp_path, pipeline) == ""
