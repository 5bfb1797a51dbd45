"""`forebay cache` tells what is there and takes away what it is told to."""

import json
import os
import time
from pathlib import Path

import pytest
from support.cache_work import SCHEMA, key, made
from typer.testing import CliRunner

from forebay.cli.cache import app
from forebay.engine.cache_options import CacheOptions
from forebay.engine.cache_report import clear_cache, list_cache, prune_cache, verify_cache
from forebay.engine.cache_store import Cache
from forebay.formats.errors import SpecError


@pytest.fixture
def directory(tmp_path: Path) -> str:
    for label, units in (("photos", range(3)), ("words", range(3, 5))):
        cache = Cache(CacheOptions(dir=str(tmp_path)), label=label)
        for at in units:
            cache.get_or_compute(key(at), lambda at=at: made(at), SCHEMA)
            cache.get(key(at))
        cache.close()
    return str(tmp_path)


def flip(directory: str, at: int) -> None:
    path = Path(directory, "units", "00", f"{key(at)}.unit")
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 1
    path.write_bytes(data)


def test_lists_sizes_hit_rates_and_ages_by_label(directory: str) -> None:
    photos, words = list_cache(directory)
    assert (photos.label, photos.units, words.label, words.units) == ("photos", 3, "words", 2)
    assert (photos.counts.hits, photos.counts.misses, photos.counts.hit_rate) == (3, 3, 0.5)
    assert time.time_ns() - 60_000_000_000 < photos.oldest_ns <= photos.used_ns


def test_prunes_to_a_size_and_by_age(directory: str) -> None:
    old = Path(directory, "units", "00", f"{key(4)}.unit")
    os.utime(old, (time.time() - 90_000, old.stat().st_mtime))
    assert prune_cache(directory, older_than=86_400).units == 1
    assert prune_cache(directory, limit_bytes=40_000).units == 2
    assert sorted(path.stem for path in Path(directory).rglob("*.unit")) == [key(2), key(3)]
    with pytest.raises(SpecError, match="nothing says what to prune"):
        prune_cache(directory)


def test_clears_all_or_one_label_but_nothing_in_use(directory: str) -> None:
    unit = Cache(CacheOptions(dir=directory), label="photos").get(key(0))
    removal = clear_cache(directory, label="photos")
    assert (removal.units, removal.leased) == (2, 1)
    del unit
    assert clear_cache(directory).units == 3
    assert [one.units for one in list_cache(directory)] == [0, 0]


def test_verify_names_bad_units_and_removes_them_when_asked(directory: str) -> None:
    flip(directory, 1)
    verdict = verify_cache(directory)
    assert verdict.units == 5 and len(verdict.bad) == 1 and key(1) in verdict.bad[0]
    assert verify_cache(directory, remove=True).bad
    assert verify_cache(directory).units == 4


def test_a_directory_that_is_not_there_is_an_empty_cache(tmp_path: Path) -> None:
    nowhere = str(tmp_path / "nowhere")
    assert list_cache(nowhere) == [] and verify_cache(nowhere).units == 0 and clear_cache(nowhere).units == 0


def run(*arguments: str) -> tuple[int, str]:
    result = CliRunner().invoke(app, list(arguments))
    return result.exit_code, result.output


def test_the_command_says_the_same_for_people_and_machines(directory: str) -> None:
    code, text = run("ls", "--dir", directory)
    assert code == 0 and "50% of 6 hit" in text and "photos" in text
    code, text = run("ls", "--dir", directory, "--json")
    assert [one["hit_rate"] for one in json.loads(text)["labels"]] == [0.5, 0.5]
    assert run("verify", "--dir", directory)[0] == 0
    flip(directory, 0)
    code, text = run("verify", "--dir", directory, "--remove")
    assert code == 1 and "1 bad" in text
    assert "removed 3 units" in run("prune", "--dir", directory, "--to", "20KB")[1]
    assert "removed 1 units" in run("clear", "--dir", directory)[1]


def test_an_age_that_is_none_is_refused(directory: str) -> None:
    result = CliRunner().invoke(app, ["prune", "--dir", directory, "--older-than", "soon"])
    assert isinstance(result.exception, SpecError) and "an age is 'soon'" in str(result.exception)
