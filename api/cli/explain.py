"""`forebay explain`: the plan of a recipe."""

from typing import Annotated

import typer

from forebay.cli.console import say
from forebay.cli.prep import fit
from forebay.engine.recipe import from_recipe
from forebay.engine.write_options import WriteOptions


def explain(
    recipe: Annotated[str, typer.Argument(help="YAML file.")],
    input: Annotated[
        list[str] | None, typer.Option("--input", "-i", help="Read this instead of the recipe's input.")
    ] = None,
    sample: Annotated[int, typer.Option(min=0, help="Rows to measure each step on; 0 reads no data.")] = 1000,
) -> None:
    """Show what a recipe will do: columns read, filters pushed down, stages, and what each costs on a sample.

    Example: forebay explain examples/flights/recipe.yaml --input flights.csv.gz
    """
    dataset = from_recipe(recipe, input=list(input) if input else None)
    if sample and dataset.graph.unfitted():
        say(dataset.explain())
        say("")
        dataset = fit(dataset, WriteOptions(on_bad="skip"), quiet=False)
    say(dataset.explain(sample=sample))
