"""The command `forebay`: one file a verb, mounted here; errors in one line, and an exit code for each kind.

Exit codes: 0 done; 1 the data or the output is not right (verify found faults, too many bad rows); 2 the command, recipe or a
setting is wrong; 3 the input cannot be found or read; 130 stopped by Ctrl-C.
"""

import sys
from typing import Any

import typer

from forebay.cli import bench, cache, doctor, explain, inspect, prep, verify
from forebay.cli.console import complain
from forebay.formats.errors import DataError, ForebayError, SourceError, SpecError

app = typer.Typer(
    name="forebay",
    help="Prepare training data and look at what was prepared. Every verb has --help with an example.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
)
app.command("prep")(prep.prep)
app.command("inspect")(inspect.inspect)
app.command("verify")(verify.verify)
app.command("explain")(explain.explain)
app.command("doctor")(doctor.doctor)
app.add_typer(cache.app, name="cache")
app.command("bench")(bench.bench)


@app.callback(invoke_without_command=True)
def version(show: bool = typer.Option(False, "--version", help="Show the version and stop.")) -> None:
    """Prepare training data and look at what was prepared."""
    if show:
        from forebay import __version__

        typer.echo(f"forebay {__version__}")
        raise typer.Exit


INTERRUPTED = 130
"""Exit code after Ctrl-C, as shells have it: 128 and the number of the signal."""

# UsageError: what typer raises for a wrong command line. Its home has moved between versions, its subclass has not.
_Usage: Any = typer.BadParameter.__mro__[1]


def main(arguments: list[str] | None = None) -> int:
    """Run a command line; the exit code."""
    try:
        found = app(args=arguments, prog_name="forebay", standalone_mode=False)
    except (KeyboardInterrupt, typer.Abort):
        return _stopped()
    except typer.Exit as stop:
        return stop.exit_code
    except _Usage as error:
        _wrong_command(error)
        return 2
    except ForebayError as error:
        complain(str(error))
        return exit_code(error)
    if found == INTERRUPTED:  # typer turns Ctrl-C into this when it can
        return _stopped()
    return found if isinstance(found, int) else 0


def _wrong_command(error: Any) -> None:
    if type(error).__name__ == "NoArgsIsHelpError":  # a group of verbs without one of them
        error.show()
        return
    path = error.ctx.command_path if error.ctx else "forebay"
    complain(f"{error.format_message().rstrip('.')} (`{path} --help` tells what it takes)")


def _stopped() -> int:
    complain("stopped; run the same command again to go on where it stopped")
    return INTERRUPTED


def exit_code(error: ForebayError) -> int:
    """The exit code of an error."""
    if isinstance(error, DataError):
        return 1
    if isinstance(error, SpecError):
        return 2
    return 3 if isinstance(error, SourceError) else 1


if __name__ == "__main__":
    sys.exit(main())
