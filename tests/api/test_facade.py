"""The public names: few, lazy, and all there."""

import subprocess
import sys

import pytest

import forebay


def test_names_are_few_and_all_resolve() -> None:
    assert len(forebay.__all__) <= 25
    for name in forebay.__all__:
        assert getattr(forebay, name) is not None


def test_import_loads_nothing_heavy() -> None:
    code = (
        "import sys, forebay; heavy = {'numpy', 'numba', 'torch', 'pyarrow', 'polars', 'yaml', 'typer', 'rich'};"
        "print(sorted(heavy & set(sys.modules)))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


def test_scanning_needs_no_torch() -> None:
    code = "import sys, forebay; forebay.scan; print('torch' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "False"


def test_who_asks_for_a_loader_and_for_data_does_not_wait_for_imports_with_the_first_batch() -> None:
    loaded = "[one in sys.modules for one in ('forebay.loaders.feed_loader', 'pyarrow')]"
    code = f"import sys, forebay; forebay.DataLoader; print({loaded}); forebay.scan; print({loaded})"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.split("\n")[:2] == ["[False, False]", "[True, True]"]


def test_a_transform_brings_what_plans_it() -> None:
    code = "import sys, forebay; forebay.transforms.ShiftTokens; print('forebay.transforms.fuse_tokens' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "True"


def test_a_name_that_does_not_exist_is_an_attribute_error() -> None:
    with pytest.raises(AttributeError, match="no attribute 'Nope'"):
        forebay.Nope  # noqa: B018  # the look-up is the test
    with pytest.raises(AttributeError, match="no transform 'Nope'"):
        forebay.transforms.Nope  # noqa: B018  # the look-up is the test


def test_every_transform_in_the_catalog_loads() -> None:
    from forebay.transforms import catalog

    for name in catalog.MODULES:
        assert catalog.load(name).__name__ == name
