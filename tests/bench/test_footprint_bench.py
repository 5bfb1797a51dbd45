"""The benchmark of the footprint runs, and its steps add up."""

import pytest

from forebay.bench.footprint import RUNS, main
from forebay.transforms.native import image


def test_every_process_is_measured_step_by_step():
    found = main(["--quick"])
    assert list(found) == list(RUNS)
    for run, steps in found.items():
        assert [one["step"] for one in steps][:3] == ["python", "numpy", "torch"]
        assert all(one["pss"] >= one["without"] > 0 for one in steps)
        assert [one["cpu"] for one in steps] == sorted(one["cpu"] for one in steps), run
    assert [one["step"] for one in found["tokens"]][4:] == [
        "import forebay",
        "open",
        "loader",
        "first batch",
        "an epoch",
        "two epochs",
    ]


@pytest.mark.skipif(not image.supported(), reason="images are made for Linux on x86-64")
def test_a_loader_on_warm_kernels_imports_nothing_large_that_it_does_not_use(tmp_path):
    import subprocess
    import sys

    from forebay.bench.footprint import _write

    _write(tmp_path, rows=2_000)
    code = (
        "import sys; from forebay.bench.footprint_steps import steps; steps({run!r}, {data!r}, 2); "
        "print([one for one in {unwanted!r} if one in sys.modules])"
    )
    large = ("numba", "llvmlite", "pandas", "polars", "scipy", "pyarrow.compute", "pyarrow.dataset", "numpy.ma")
    ours = (
        *(f"forebay.engine.{one}" for one in ("write", "fit_pass", "caching", "explain", "mix_order")),
        *(f"forebay.formats.{one}" for one in ("manifest", "remote_reads", "remote_object", "s3_gets", "retry")),
        *(f"forebay.loaders.{one}" for one in ("device_delivery", "stream", "hooks.hook")),
        *(f"forebay.transforms.{one}" for one in ("image_op", "native.elf")),
        "fractions",
    )
    mapped = (
        *("pyarrow.parquet", "forebay.transforms.column_chain", "forebay.engine.cache_unit"),
        *(f"forebay.loaders.{one}" for one in ("decoded_rows", "rows_ahead", "fragment_rows")),
    )
    for run, more in (("tokens", mapped), ("tabular", ())):
        unwanted = (*large, *ours, *more)
        command = [sys.executable, "-c", code.format(run=run, data=str(tmp_path), unwanted=unwanted)]
        for _ in range(2):  # the first may have to compile
            done = subprocess.run(command, capture_output=True, text=True, timeout=300, check=True)
            if done.stdout.splitlines()[-1] == "[]":
                break
        assert done.stdout.splitlines()[-1] == "[]"
