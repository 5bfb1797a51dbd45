"""`python -m forebay.bench`: the same as `forebay bench`."""

import sys

import typer

from forebay.cli.bench import bench
from forebay.formats.errors import ForebayError


def main() -> int:
    """Run the suite; the exit code."""
    app = typer.Typer(add_completion=False, pretty_exceptions_enable=False)
    app.command()(bench)
    try:
        app()
    except ForebayError as error:
        sys.stderr.write(f"forebay: {error}\n")
        return 2
    return 0


if __name__ == "__main__":
    sys.exit(main())
