"""The graph: transforms in order, with what the fitted ones learned."""

from dataclasses import dataclass, field
from typing import Any

import pyarrow as pa

from forebay.engine.fingerprint import fingerprint
from forebay.formats.errors import NotFittedError, SpecError
from forebay.transforms import catalog
from forebay.transforms.transform import Kind, State, Transform


@dataclass(frozen=True, slots=True)
class Graph:
    """Transforms in the order the user gave them. Immutable; `then` and `with_states` make new ones."""

    transforms: tuple[Transform, ...] = ()
    states: tuple[State | None, ...] = field(default=())

    def then(self, *transforms: Transform) -> "Graph":
        """This graph and then `transforms`.

        Raises:
            SpecError: something that is not a transform.
        """
        for one in transforms:
            if isinstance(one, type) or not isinstance(one, Transform):
                made = f"the class {one.__name__}" if isinstance(one, type) else f"a {type(one).__name__}"
                raise SpecError(
                    f".apply got {made}; expected transforms such as T.Standardize(['x']) (for a function of your own use "
                    ".map_batches)"
                )
        return Graph(self.transforms + transforms, self.states + (None,) * len(transforms))

    def with_states(self, states: dict[int, State]) -> "Graph":
        """The same transforms, those at the given positions fitted."""
        filled = tuple(states.get(at, state) for at, state in enumerate(self.states))
        return Graph(self.transforms, filled)

    def unfitted(self) -> list[int]:
        """Positions of the fitted transforms that have not learned yet."""
        pairs = enumerate(zip(self.transforms, self.states, strict=True))
        return [at for at, (one, state) in pairs if one.fitted and state is None]

    def require_fitted(self, doing: str) -> None:
        """Refuse to go on with transforms that have not learned.

        Raises:
            NotFittedError: names them.
        """
        names = [type(self.transforms[at]).__name__ for at in self.unfitted()]
        if names:
            raise NotFittedError(f"{', '.join(names)} must learn from the data before {doing}; call .fit() first")

    def schemas(self, source: pa.Schema) -> list[pa.Schema]:
        """Schema before each transform, and after the last: `len(transforms) + 1` of them.

        Raises:
            SchemaError: a transform cannot work on what it is given.
        """
        found = [source]
        for one in self.transforms:
            found.append(one.output_schema(found[-1]))
        return found

    def source_columns(self, source: pa.Schema) -> tuple[str, ...]:
        """The source columns that the output depends on, in the source's order: the rest is not read."""
        schemas = self.schemas(source)
        needed = set(schemas[-1].names)
        for one, before in zip(reversed(self.transforms), reversed(schemas[:-1]), strict=True):
            needed = (needed & set(before.names)) | set(one.reads(before))
        return tuple(name for name in source.names if name in needed)

    def kinds(self) -> list[Kind]:
        return [one.kind for one in self.transforms]

    def to_json(self) -> list[dict[str, Any]]:
        """The specs as plain values; the states travel beside them."""
        return [catalog.to_json(one) for one in self.transforms]

    def fingerprint(self, stop: int | None = None) -> str:
        """What the first `stop` transforms do: specs, versions and states."""
        parts = [
            [catalog.to_json(one), one.version, None if state is None else _stable(state)]
            for one, state in zip(self.transforms[:stop], self.states[:stop], strict=True)
        ]
        return fingerprint(parts)


def _stable(state: State) -> dict[str, Any]:
    return {str(key): value for key, value in state.items()}
