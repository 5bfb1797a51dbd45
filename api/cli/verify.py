"""`forebay verify`: read a prepared data set again and name what is wrong."""

from dataclasses import asdict
from typing import Annotated

import typer

from forebay.cli.console import progress, say, say_json
from forebay.engine.write import Progress
from forebay.formats import verify as checking


def verify(
    path: Annotated[str, typer.Argument(help="Directory that `forebay prep` wrote (any readable data set will do).")],
    as_json: Annotated[bool, typer.Option("--json", help="As JSON.")] = False,
) -> None:
    """Read every byte of a data set and compare it with its manifest.

    Exit code 1 when anything is missing, truncated, altered or of another schema.

    Example: forebay verify prepared/
    """
    with progress("verify", quiet=as_json) as bar:
        report = checking.verify(path, progress=lambda done, total: bar.show(Progress(0, done, total, 0)))
    if as_json:
        say_json({**asdict(report), "ok": report.ok})
    else:
        for one in report.findings:
            say(f"{one.fault:<10} {one.shard}: {one.detail}")
        state = "all as written" if report.has_manifest else "all readable (no manifest, so nothing to compare with)"
        verdict = state if report.ok else f"{len(report.findings)} faults"
        say(f"{path}: {report.shards} shards, {report.rows:,} rows, {report.nbytes / 1e6:,.1f} MB: {verdict}")
    if not report.ok:
        raise typer.Exit(1)
