"""Put results into the documentation: `python -m forebay.bench.publish [--results DIR]`, in the repository's root.

Writes `docs/benchmarks/` (JSON, whole table, plot, scaling curves) and, from that JSON, the marked part of README.md; a
test holds the two together. With `--regenerate` it makes README's part again from the JSON that is there.
"""

import argparse
import shutil
import sys
from pathlib import Path

from forebay.bench.catalog import WORKLOADS
from forebay.bench.places import home
from forebay.bench.results import Results
from forebay.bench.rows import rows
from forebay.bench.suite import read_report, write_report
from forebay.bench.table import put_between_markers, readme_part
from forebay.formats.errors import SpecError


def publish(results: Path, root: Path) -> None:
    """Take over the full-size results of a directory.

    Raises:
        SpecError: there are none.
    """
    kept = Results.open(results)
    found = rows(kept, WORKLOADS, quick=False)
    if not found:
        raise SpecError(f"{results} has no results at full size; measure with: forebay bench")
    place = root / "docs" / "benchmarks"
    write_report(found, kept.machines(quick=False), place, _say)
    (place / "summary.md").unlink()
    (place / "plot.png").unlink(missing_ok=True)
    for name in ("scaling.json", "scaling.md", "scaling.svg"):
        if (results / name).is_file():
            shutil.copyfile(results / name, place / name)
    regenerate(root)


def _say(text: str) -> None:
    sys.stderr.write(f"{text}\n")


def regenerate(root: Path) -> None:
    """README's part from the committed JSON."""
    put_between_markers(root / "README.md", readme_part(*read_report(root / "docs" / "benchmarks" / "results.json")))


def main(arguments: list[str] | None = None) -> None:
    """Publish, or make README's part again."""
    parser = argparse.ArgumentParser(description="Put results into docs/benchmarks and README.md.")
    parser.add_argument("--results", type=Path, default=home() / "results")
    parser.add_argument("--root", type=Path, default=Path.cwd())
    parser.add_argument("--regenerate", action="store_true", help="only README.md, from docs/benchmarks/results.json")
    given = parser.parse_args(arguments)
    if given.regenerate:
        regenerate(given.root)
    else:
        publish(given.results, given.root)


if __name__ == "__main__":
    main()
