"""`forebay cache`: what the on-disk cache holds, and how to shrink, empty and check it."""

import time
from dataclasses import asdict
from typing import Annotated

import typer

from forebay.cli.console import progress, say, say_json
from forebay.engine.cache_options import default_directory
from forebay.engine.cache_report import Removal, clear_cache, list_cache, prune_cache, verify_cache
from forebay.engine.memory import parse_bytes
from forebay.engine.write import Progress
from forebay.formats.errors import SpecError

app = typer.Typer(help="List, shrink, empty and check the on-disk cache.", no_args_is_help=True)

Directory = Annotated[
    str | None, typer.Option("--dir", help="Cache directory; else $FOREBAY_CACHE, else ~/.cache/forebay.")
]
AsJson = Annotated[bool, typer.Option("--json", help="As JSON.")]

_AGES = {"s": 1, "m": 60, "h": 3600, "d": 86_400, "w": 604_800}


@app.command("ls")
def ls(directory: Directory = None, as_json: AsJson = False) -> None:
    """What is cached, by data set: units, size, hit rate, ages.

    Example: forebay cache ls
    """
    where = directory or default_directory()
    reports = list_cache(where)
    if as_json:
        say_json({"dir": where, "labels": [{**asdict(one), "hit_rate": one.counts.hit_rate} for one in reports]})
        return
    say(f"{where}: {sum(one.nbytes for one in reports) / 1e6:,.1f} MB in {sum(one.units for one in reports):,} units")
    for one in reports:
        asked = one.counts.hits + one.counts.misses
        rate = f"{one.counts.hit_rate:.0%} of {asked:,} hit" if asked else "never asked for"
        ages = f"made {_ago(one.oldest_ns)}, used {_ago(one.used_ns)}" if one.units else "all gone"
        bad = f", {one.counts.bad} bad" if one.counts.bad else ""
        say(f"{one.nbytes / 1e6:>12,.1f} MB {one.units:>8,} units  {rate}{bad}  {ages}  {one.label or '(no label)'}")


@app.command("prune")
def prune(
    to: Annotated[str | None, typer.Option("--to", help="Size to shrink to, such as 50GB.")] = None,
    older_than: Annotated[str | None, typer.Option("--older-than", help="Age since last use: 7d, 12h.")] = None,
    directory: Directory = None,
    as_json: AsJson = False,
) -> None:
    """Take away the least recently used units, and what killed runs left. Units in use stay.

    Example: forebay cache prune --to 50GB --older-than 30d
    """
    age = None if older_than is None else _seconds(older_than)
    _tell(prune_cache(directory or default_directory(), limit_bytes=parse_bytes(to), older_than=age), as_json)


@app.command("clear")
def clear(
    label: Annotated[str | None, typer.Option("--label", help="Only this data set, named as `ls` names it.")] = None,
    directory: Directory = None,
    as_json: AsJson = False,
) -> None:
    """Take away all units, or those of one data set. Units in use stay.

    Example: forebay cache clear
    """
    _tell(clear_cache(directory or default_directory(), label=label), as_json)


@app.command("verify")
def verify(
    remove: Annotated[bool, typer.Option("--remove", help="Take bad units away, to be built anew.")] = False,
    directory: Directory = None,
    as_json: AsJson = False,
) -> None:
    """Read every unit and compare it with its checksum. Exit code 1 when one is bad.

    Example: forebay cache verify --remove
    """
    with progress("verify", quiet=as_json) as bar:
        verdict = verify_cache(
            directory or default_directory(),
            remove=remove,
            progress=lambda done, total: bar.show(Progress(0, done, total, 0)),
        )
    if as_json:
        say_json({**asdict(verdict), "ok": not verdict.bad})
    else:
        for message in verdict.bad:
            say(message)
        state = f"{len(verdict.bad)} bad" if verdict.bad else "all intact"
        say(f"{verdict.units:,} units, {verdict.nbytes / 1e6:,.1f} MB: {state}")
    if verdict.bad:
        raise typer.Exit(1)


def _tell(removal: Removal, as_json: bool) -> None:
    if as_json:
        say_json(asdict(removal))
        return
    stayed = f"; {removal.leased} in use stayed" if removal.leased else ""
    swept = f"; {removal.swept} half-written files of killed runs" if removal.swept else ""
    say(f"removed {removal.units:,} units, {removal.nbytes / 1e6:,.1f} MB{stayed}{swept}")


def _ago(time_ns: int) -> str:
    seconds = max(0.0, time.time() - time_ns / 1e9)
    for unit in ("w", "d", "h", "m"):
        if seconds >= _AGES[unit]:
            return f"{seconds / _AGES[unit]:.0f}{unit} ago"
    return f"{seconds:.0f}s ago"


def _seconds(text: str) -> float:
    try:
        return float(text[:-1]) * _AGES[text[-1:]]
    except (KeyError, ValueError) as error:
        raise SpecError(f"an age is {text!r}; expected a number with s, m, h, d or w, such as 7d") from error
