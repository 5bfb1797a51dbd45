"""`forebay bench`: forebay beside other loaders, on this machine."""

from pathlib import Path
from typing import Annotated

import typer

from forebay.cli.console import say


def bench(  # noqa: PLR0913  # each is an option of the command
    workloads: Annotated[
        list[str] | None,
        typer.Argument(
            help="tokens, images, images_cached, tabular, python, transport, ragged_text, prep_tabular, prep_text; default: all"
        ),
    ] = None,
    against: Annotated[
        list[str] | None,
        typer.Option("--against", help="Only peers with this in their name ('nobody': none); may be given again."),
    ] = None,
    quick: Annotated[bool, typer.Option("--quick", help="Toy size: shows that it runs, not how fast.")] = False,
    out: Annotated[Path | None, typer.Option(help="Directory of the results.")] = None,
    repeats: Annotated[int, typer.Option(help="Turns of each system.")] = 3,
    seconds: Annotated[float, typer.Option(help="Timed of each run, after half as many.")] = 2.0,
    epochs: Annotated[bool, typer.Option("--epochs", help="Time whole second epochs instead: hours.")] = False,
    resume: Annotated[bool, typer.Option("--resume", help="Keep what was timed of these workloads before.")] = False,
    prepare_only: Annotated[
        bool, typer.Option("--prepare-only", help="Environments, data, formats and checks; time nothing.")
    ] = False,
    readme: Annotated[
        Path | None, typer.Option(help="Markdown file whose marked part is replaced by the summary.")
    ] = None,
) -> None:
    """Measure forebay and other loaders side by side, each in a process (and environment) of its own.

    All of it takes about 40 minutes once environments, data and formats are there (`--prepare-only`); workloads
    measured one by one gather in the same report.

    Example: forebay bench tokens images --against torch --against grain
    """
    from forebay.bench.places import home
    from forebay.bench.runner import SuiteOptions
    from forebay.bench.suite import bench as run

    options = SuiteOptions(
        workloads=tuple(workloads or ()),
        against=tuple(against or ()),
        quick=quick,
        repeats=repeats,
        seconds=seconds,
        epochs=epochs,
        prepare_only=prepare_only,
    )
    where = out or home() / "results"
    run(options, where, say, resume=resume, readme=readme)
    if not prepare_only:
        say((where / "table.md").read_text())
