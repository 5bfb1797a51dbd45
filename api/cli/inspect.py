"""`forebay inspect`: what is in a data set."""

from typing import Annotated, Any

import typer

from forebay.cli.console import say, say_json
from forebay.engine.dataset import scan


def inspect(
    path: Annotated[str, typer.Argument(help="File, directory, glob or URL.")],
    rows: Annotated[int, typer.Option(min=0, help="Rows to show.")] = 3,
    as_json: Annotated[bool, typer.Option("--json", help="As JSON.")] = False,
) -> None:
    """Show format, columns, counts and the first rows of a data set.

    Example: forebay inspect prepared/
    """
    dataset = scan(path)
    source = dataset.source
    fragments = source.fragments()
    known = all(one.rows is not None for one in fragments)
    value: dict[str, Any] = {
        "path": path,
        "format": source.format,
        "files": len(source.paths),
        "fragments": len(fragments),
        "rows": sum(one.rows or 0 for one in fragments) if known else None,
        "bytes": sum(one.nbytes for one in fragments),
        "columns": {one.name: str(one.type) for one in dataset.schema},
        "manifest": source.manifest is not None,
    }
    if source.manifest:
        value["fingerprint"] = source.manifest.fingerprint
        value["counts"] = source.manifest.counts
        value["transforms"] = [one["name"] for one in source.manifest.graph]
    if as_json:
        say_json(value)
        return
    counted = f"{value['rows']:,} rows" if known else "rows known after reading"
    say(f"{path}: {source.format}, {value['files']:,} files, {value['fragments']:,} fragments, {counted}, "
        f"{value['bytes'] / 1e6:,.1f} MB")  # fmt: skip
    if source.manifest:
        say(
            f"manifest: made by {', '.join(value['transforms']) or 'no transforms'}; fingerprint {value['fingerprint']}"
        )
    for name, type in value["columns"].items():
        say(f"  {name}: {type}")
    for row in dataset.head(rows).to_pylist():
        say(_short(row))


def _short(row: dict[str, Any]) -> str:
    return str({name: f"<{len(one)} bytes>" if isinstance(one, bytes) else one for name, one in row.items()})
