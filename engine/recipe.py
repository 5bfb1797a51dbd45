"""Recipes: YAML with the same names as the Python classes. No code in it, and none is evaluated."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import yaml

from forebay.engine.dataset import Dataset, scan
from forebay.engine.write_options import WriteOptions, write_options
from forebay.formats.errors import SourceError, SpecError, UnknownNameError
from forebay.transforms import catalog

_KEYS = ("input", "format", "schema", "options", "steps", "output")
_STEPS = ("filter", "select")


def load_recipe(path: str) -> dict[str, Any]:
    """The recipe in a file, as plain values.

    Raises:
        SourceError: no such file.
        SpecError: not YAML, or not a mapping; names the line.
    """
    try:
        text = Path(path).read_text(encoding="utf-8")
    except OSError as error:
        raise SourceError(f"{path}: {error.strerror}") from error
    except UnicodeDecodeError as error:
        raise SpecError(f"{path} is not YAML: byte {error.start} is not UTF-8; a recipe is a text file") from error
    try:
        value = yaml.safe_load(text)
    except yaml.YAMLError as error:
        raise SpecError(f"{path} is not YAML: {_in_one_line(error)}") from error
    if not isinstance(value, dict):
        raise SpecError(f"{path}: a recipe is a mapping with the keys {', '.join(_KEYS)}; found {type(value).__name__}")
    for key in value:
        if key not in _KEYS:
            raise UnknownNameError.of("key", str(key), _KEYS, where=path)
    return value


def from_recipe(path: str, *, input: str | list[str] | None = None) -> Dataset:
    """The Dataset that a recipe describes, not fitted yet.

    Args:
        path: the YAML file. Its `input` is taken relative to the working directory, as a shell would.
        input: read this instead of the recipe's `input`.

    Raises:
        SpecError: a key, step or value is wrong; says which step, what was expected and the nearest right name.
    """
    recipe = load_recipe(path)
    wanted = input if input is not None else recipe.get("input")
    if wanted is None:
        raise SpecError(f"{path}: input is missing; give `input: data/*.parquet` in the recipe, or --input")
    if not isinstance(wanted, str) and not (isinstance(wanted, list) and all(isinstance(one, str) for one in wanted)):
        raise SpecError(f"{path}: input is {wanted!r}; expected a path or URL, or a list of these")
    options = recipe.get("options") or {}
    if not isinstance(options, Mapping):
        raise SpecError(f"{path}: options is {options!r}; expected a mapping of the format's options")
    dataset = scan(wanted, recipe.get("format"), schema=recipe.get("schema", "strict"), **options)
    steps = recipe.get("steps") or []
    if not isinstance(steps, list):
        raise SpecError(f"{path}: steps is a {type(steps).__name__}; expected a list")
    for number, step in enumerate(steps, 1):
        dataset = _add(dataset, step, f"step {number} of {path}")
    return dataset


def recipe_output(path: str, **given: Any) -> WriteOptions:
    """The write options of a recipe's `output`, those that are `given` (not None) in their place."""
    asked = load_recipe(path).get("output") or {}
    if not isinstance(asked, Mapping):
        raise SpecError(
            f"{path}: output is {asked!r}; expected a mapping such as {{format: parquet, max_rows: 100000}}"
        )
    return write_options(**{**asked, **{key: value for key, value in given.items() if value is not None}})


def _add(dataset: Dataset, step: Any, where: str) -> Dataset:
    name, value = _name_and_value(step, where)
    if name == "filter":
        if not isinstance(value, str):
            raise SpecError(f"{where}: filter is {value!r}; expected text such as 'x > 0 and y is not null'")
        return _located(where, lambda: dataset.filter(value))
    if name == "select":
        return _located(where, lambda: dataset.select(value))
    if name not in catalog.MODULES:
        raise UnknownNameError.of("step", name, [*catalog.MODULES, *_STEPS], where=where)
    if not isinstance(value, Mapping):
        first = "columns"
        value = {} if value is None else {first: value}
    fields = {str(key): item for key, item in value.items()}
    return _located(where, lambda: dataset.apply(catalog.from_json({"name": name, **fields}, where=where)))


def _in_one_line(error: yaml.YAMLError) -> str:
    mark = getattr(error, "problem_mark", None)
    said = getattr(error, "problem", None) or " ".join(str(error).split())
    return f"line {mark.line + 1}, column {mark.column + 1}: {said}" if mark else said


def _name_and_value(step: Any, where: str) -> tuple[str, Any]:
    if isinstance(step, str):
        return step, None
    if isinstance(step, Mapping) and len(step) == 1:
        name, value = next(iter(step.items()))
        return str(name), value
    raise SpecError(
        f"{where} is {step!r}; expected one name with its settings, such as `- Standardize: {{columns: [x]}}`"
    )


def _located(where: str, call: Any) -> Dataset:
    try:
        made: Dataset = call()
    except SpecError as error:
        if where in str(error):
            raise
        raise SpecError(f"{where}: {error}") from error
    return made
