"""Units: cut by the bytes of the source alone."""

import pytest

from forebay.engine.work_unit import make_units
from forebay.formats.fragment import Fragment


def fragments(count: int, nbytes: int) -> list[Fragment]:
    return [Fragment(path=f"{at}", format="parquet", start=0, stop=1, rows=1, nbytes=nbytes) for at in range(count)]


@pytest.mark.parametrize(
    ("count", "nbytes", "units", "size"),
    [
        (8, 4_300_000, 4, 2),  # a small source: units of at least 8 MB
        (32, 12_800_000, 16, 2),  # sixteen of them
        (500, 20_000_000, 125, 4),  # a large one: of at least 64 MB
        (10_000, 1_000, 2, 8_000),  # many small files
        (3, 0, 1, 3),
    ],
)
def test_units_are_a_sixteenth_of_the_source_within_limits(count: int, nbytes: int, units: int, size: int) -> None:
    made = make_units(fragments(count, nbytes))
    assert len(made) == units and len(made[0].fragments) == size
    assert [at for one in made for at, _ in one.fragments] == list(range(count))


def test_their_size_may_be_given() -> None:
    assert [one.nbytes for one in make_units(fragments(5, 10), target_bytes=20)] == [20, 20, 10]
    assert make_units([]) == []
