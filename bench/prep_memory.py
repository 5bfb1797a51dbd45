"""Whether `--memory` holds: prepare many times more input than the limit and measure the peak.

`python -m forebay.bench.prep_memory` prepares 10 GB of Parquet files (those of `prep_tabular`, linked as often as needed) with
`memory="2GB"` in a process of its own, and prints the largest resident size that the kernel saw.
"""

import argparse
import os
import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from forebay.bench.prep_tabular import FLOATS, INTEGERS, MODULUS, make_data
from forebay.engine.memory import parse_bytes


def make_input(directory: Path, rows: int, nbytes: int) -> Path:
    """Links to the files of `make_data` until they hold `nbytes` bytes."""
    source = make_data(directory, rows)
    target = directory / "memory-input"
    shutil.rmtree(target, ignore_errors=True)
    target.mkdir()
    files = sorted(source.glob("*.parquet"))
    held = number = 0
    while held < nbytes:
        os.link(files[number % len(files)], target / f"{number:05d}.parquet")
        held += files[number % len(files)].stat().st_size
        number += 1
    return target


def prepare(source: str, target: str, memory: str) -> None:
    import forebay as fb
    from forebay import transforms as T

    ds = fb.scan(f"{source}/*.parquet").apply(
        T.FillNull(FLOATS, value=0.0), T.Log1p(FLOATS), T.Modulo(INTEGERS, divisor=MODULUS)
    )
    ds.write(target, memory=memory)


def main(arguments: list[str] | None = None) -> int:
    """Measure and print; the peak in bytes."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--input", default="10GB", help="bytes of input files")
    parser.add_argument("--memory", default="2GB")
    parser.add_argument("--rows", type=int, default=5_000_000)
    parser.add_argument("--directory", type=Path, default=Path(tempfile.gettempdir()) / "forebay-bench")
    parser.add_argument("--run", nargs=3, help=argparse.SUPPRESS)
    options = parser.parse_args(arguments)
    if options.run:
        prepare(*options.run)
        return 0
    limit, wanted = parse_bytes(options.memory), parse_bytes(options.input)
    assert limit is not None and wanted is not None
    source, target = make_input(options.directory, options.rows, wanted), options.directory / "memory-output"
    shutil.rmtree(target, ignore_errors=True)
    start = time.perf_counter()
    command = [sys.executable, "-m", "forebay.bench.prep_memory", "--run", str(source), str(target), options.memory]
    process = subprocess.Popen(command)
    _, status, usage = os.wait4(process.pid, 0)
    process.returncode = os.waitstatus_to_exitcode(status)
    peak = usage.ru_maxrss * 1024
    shutil.rmtree(source)
    shutil.rmtree(target)
    if process.returncode:
        raise SystemExit("preparation failed")
    verdict = "holds" if peak <= limit else "does not hold"
    sys.stdout.write(
        f"input {wanted / 1e9:.1f} GB, limit {limit / 1e9:.1f} GB, peak {peak / 1e9:.2f} GB: the limit {verdict}; "
        f"{time.perf_counter() - start:.0f} s wall, {usage.ru_utime + usage.ru_stime:.0f} s CPU\n"
    )
    return peak


if __name__ == "__main__":
    main()
