"""`forebay prep`: run a recipe and write shards."""

import time
from dataclasses import asdict
from typing import Annotated, Any

import typer

from forebay.cli.console import progress, say, say_json
from forebay.engine.dataset import Dataset
from forebay.engine.recipe import from_recipe, recipe_output
from forebay.engine.write import Progress
from forebay.engine.write_options import WriteOptions
from forebay.engine.write_report import WriteReport


def prep(  # noqa: PLR0913  # each is an option of the command
    recipe: Annotated[str, typer.Argument(help="YAML file with input, steps and output.")],
    output: Annotated[
        str, typer.Option("--output", "-o", help="Directory for shards, manifest and fitted state.")
    ] = "",
    input: Annotated[
        list[str] | None, typer.Option("--input", "-i", help="Read this instead of the recipe's input.")
    ] = None,
    on_bad: Annotated[str | None, typer.Option(help="Bad rows: raise, quarantine or skip.")] = None,
    max_bad: Annotated[str | None, typer.Option(help="Most bad rows: a count (100) or a share (0.001).")] = None,
    memory: Annotated[str | None, typer.Option(help="Memory the run may hold, such as 2GB.")] = None,
    threads: Annotated[int | None, typer.Option(help="Units of work at a time.")] = None,
    overwrite: Annotated[
        bool, typer.Option("--overwrite", help="Replace the output of another recipe or input.")
    ] = False,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Show the plan; read no data, write nothing.")] = False,
    sample: Annotated[int, typer.Option(min=0, help="Run on this many rows and show them; write nothing.")] = 0,
    as_json: Annotated[bool, typer.Option("--json", help="The report as JSON.")] = False,
) -> None:
    """Run a recipe over its input: fit, transform, write checksummed shards.

    Stopped or killed, the same command goes on where it was.

    Example: forebay prep examples/flights/recipe.yaml --input flights.csv.gz --output prepared/
    """
    dataset = from_recipe(recipe, input=list(input) if input else None)
    options = recipe_output(
        recipe, on_bad=on_bad, max_bad=_budget(max_bad), memory=memory, threads=threads, overwrite=overwrite or None
    )
    if dry_run:
        say(dataset.explain())
        return
    if not output and not sample:
        raise typer.BadParameter("give the directory to write to", param_hint="--output")
    if sample:
        _show_sample(dataset, options, sample, quiet=as_json)
        return
    start = time.monotonic()
    fitted = fit(dataset, options, quiet=as_json)
    with progress("write", quiet=as_json) as bar:
        report = fitted.write(output, progress=bar.show, **_fields(options))
    _show(report, time.monotonic() - start, as_json=as_json)


def _fields(options: WriteOptions) -> dict[str, Any]:
    return {name: getattr(options, name) for name in WriteOptions.__dataclass_fields__ if name != "policy"}


def fit(dataset: Dataset, options: WriteOptions, *, quiet: bool) -> Dataset:
    """The data set with what its transforms learn, and a bar while they do."""
    with progress("fit", quiet=quiet) as bar:
        return dataset.fit(
            threads=options.threads,
            on_bad=options.on_bad,
            progress=lambda done, total: bar.show(Progress(0, done, total, 0)),
        )


def _budget(text: str | None) -> int | float | None:
    if text is None:
        return None
    try:
        return float(text) if "." in text or "e" in text.lower() else int(text)
    except ValueError as error:
        raise typer.BadParameter(f"{text!r} is neither a count nor a share", param_hint="--max-bad") from error


def _show_sample(dataset: Dataset, options: WriteOptions, rows: int, *, quiet: bool) -> None:
    fitted = fit(dataset, options, quiet=quiet)
    say(fitted.explain(sample=rows))
    for row in fitted.head(min(rows, 5)).to_pylist():
        say(str(row))


def _show(report: WriteReport, seconds: float, *, as_json: bool) -> None:
    if as_json:
        say_json({**asdict(report), "seconds": round(seconds, 3)})
        return
    if report.already_done:
        say(f"{report.path}: complete already ({report.written:,} rows in {report.shards} shards); nothing to do")
        return
    rate = report.read / max(seconds, 1e-9)
    say(f"read      {report.read:>12,} rows in {seconds:.2f} s ({rate:,.0f} rows/s, fitting included)")
    say(
        f"written   {report.written:>12,} rows in {report.shards} shards, {report.nbytes / 1e6:,.1f} MB, to {report.path}"
    )
    for label, count in report.joined.items():
        say(f"joined    {count:>12,} {label.replace('_', ' ')}")
    for label, count in report.filtered.items():
        say(f"filtered  {count:>12,} rows by {label}")
    for reason, count in report.bad.items():
        say(f"set aside {count:>12,} rows at {reason}")
    if report.bad:
        say(f"          see {report.path}/quarantine.parquet")
    if report.resumed_units:
        say(f"resumed   {report.resumed_units:>12,} units were finished by an earlier run")
