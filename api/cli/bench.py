"""`forebay bench`: forebay beside other loaders, on this machine."""

from pathlib import Path
from typing import Annotated

import typer

from forebay.cli.console import say


def bench(  # noqa: PLR0913  # each is an option of the command
    workloads: Annotated[
        list[str] | None,
        typer.Argument(help="tokens, images, images_cached, tabular, python, transport, prep_tabular; all by default"),
    ] = None,
    against: Annotated[
        list[str] | None, typer.Option("--against", help="Only peers with this in their name; may be given again.")
    ] = None,
    quick: Annotated[bool, typer.Option("--quick", help="Toy size: shows that it runs, not how fast.")] = False,
    out: Annotated[Path | None, typer.Option(help="Directory of the results.")] = None,
    minutes: Annotated[
        float | None, typer.Option(help="Time for measuring; default: whole epochs, --repeats times.")
    ] = None,
    repeats: Annotated[int, typer.Option(help="Turns of each system.")] = 3,
    resume: Annotated[bool, typer.Option("--resume", help="Go on with the results that are there.")] = False,
    prepare_only: Annotated[
        bool, typer.Option("--prepare-only", help="Environments, data, formats and checks; time nothing.")
    ] = False,
    readme: Annotated[
        Path | None, typer.Option(help="Markdown file whose marked part is replaced by the summary.")
    ] = None,
) -> None:
    """Measure forebay and other loaders side by side, each in a process (and environment) of its own.

    Example: forebay bench tokens images --against torch --against grain --minutes 10
    """
    from forebay.bench.places import home
    from forebay.bench.runner import SuiteOptions
    from forebay.bench.suite import bench as run

    options = SuiteOptions(
        workloads=tuple(workloads or ()),
        against=tuple(against or ()),
        quick=quick,
        minutes=minutes,
        repeats=repeats,
        prepare_only=prepare_only,
    )
    where = out or home() / "results"
    run(options, where, say, resume=resume, readme=readme)
    if not prepare_only:
        say((where / "table.md").read_text())
