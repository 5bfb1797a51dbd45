"""`forebay explain`: the plan of a recipe."""

from typing import Annotated

import typer

from forebay.cli.console import say
from forebay.engine.recipe import from_recipe


def explain(
    recipe: Annotated[str, typer.Argument(help="YAML file.")],
    input: Annotated[
        list[str] | None, typer.Option("--input", "-i", help="Read this instead of the recipe's input.")
    ] = None,
    sample: Annotated[int, typer.Option(help="Rows to measure each step on; 0 reads no data.")] = 1000,
) -> None:
    """Show what a recipe will do: columns read, filters pushed down, stages, and what each costs on a sample.

    Example: forebay explain examples/flights/recipe.yaml --input flights.csv.gz
    """
    dataset = from_recipe(recipe, input=list(input) if input else None)
    if sample and dataset.graph.unfitted():
        say(dataset.explain())
        say("")
        dataset = dataset.fit(on_bad="skip")
    say(dataset.explain(sample=sample))
