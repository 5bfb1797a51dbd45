"""The wheel and the sdist: they build, hold all packages, and import in an environment of their own."""

import subprocess
import sys
import tarfile
import venv
import zipfile
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory) -> Path:
    place = tmp_path_factory.mktemp("dist")
    source = place / "source"
    # from a copy of what git knows, so that neither `build/` nor the editable install's links come along
    listed = subprocess.run(
        ["git", "ls-files", "--cached", "--others", "--exclude-standard"],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=True,
    ).stdout.splitlines()
    for inner in listed:
        if (ROOT / inner).is_file():
            (source / inner).parent.mkdir(parents=True, exist_ok=True)
            (source / inner).write_bytes((ROOT / inner).read_bytes())
    command = [sys.executable, "-m", "build", "--no-isolation", "--outdir", str(place), str(source)]
    done = subprocess.run(command, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout[-2000:] + done.stderr[-2000:]
    return place


def test_wheel_and_sdist_hold_every_module(built: Path) -> None:
    wheel, sdist = next(built.glob("*.whl")), next(built.glob("*.tar.gz"))
    in_wheel = set(zipfile.ZipFile(wheel).namelist())
    with tarfile.open(sdist) as tar:
        in_sdist = {one.split("/", 1)[-1] for one in tar.getnames()}
    for package in ("formats", "transforms", "engine", "loaders"):
        for path in (ROOT / package).rglob("*.py"):
            inner = path.relative_to(ROOT)
            assert f"forebay/{inner}" in in_wheel and str(inner) in in_sdist
    assert "forebay/cli/main.py" in in_wheel and "forebay/py.typed" in in_wheel
    assert not [one for one in in_wheel if one.startswith(("tests/", "api/", "formats/"))]


def test_the_wheel_imports_in_an_environment_of_its_own(built: Path, tmp_path: Path) -> None:
    venv.create(tmp_path / "env", with_pip=False)
    python = tmp_path / "env" / "bin" / "python"
    site = next((tmp_path / "env" / "lib").glob("python*/site-packages"))
    zipfile.ZipFile(next(built.glob("*.whl"))).extractall(site)
    code = "import forebay, sys; print(forebay.__version__, forebay.__file__)"
    done = subprocess.run([python, "-I", "-c", code], capture_output=True, text=True, check=True, cwd=tmp_path)
    assert str(tmp_path) in done.stdout and done.stdout.startswith("0.1.0")
    # with the dependencies of this environment behind it, the data path works from the wheel alone
    (site / "rest.pth").write_text("\n".join(one for one in sys.path if one.endswith("site-packages")) + "\n")
    code = "import forebay, sys; from forebay.cli.main import main; assert 'env' in forebay.__file__; sys.exit(main(['doctor']))"
    done = subprocess.run([python, "-I", "-c", code], capture_output=True, text=True, cwd=tmp_path)
    assert done.returncode == 0, done.stderr
